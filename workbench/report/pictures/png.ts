// PNG files: encodes images of palette colors, and renders SVG drawings.

import { createRequire } from "node:module";
import { crc32, deflateSync } from "node:zlib";
import { FONT_FAMILY, PIXELS } from "./svg.ts";

interface IndexedImage {
  width: number;
  height: number;
  /** (height, width) palette indices, row by row from the top */
  pixels: Uint8Array;
  /** at most 256 colors */
  palette: readonly (readonly [number, number, number])[];
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const INDEXED = 3;

/** Encodes an image with a palette, 8 bits a pixel (PNG specification, third edition). */
export function encodePng({ width, height, pixels, palette }: IndexedImage): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, INDEXED, 0, 0, 0], 8);
  const lines = new Uint8Array(height * (width + 1)); // each line begins with its filter type: 0, none
  for (let y = 0; y < height; y++) lines.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  return joined([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("PLTE", Uint8Array.from(palette.flat())),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const FONTS = ["400Regular/Inter_400Regular.ttf", "600SemiBold/Inter_600SemiBold.ttf"];

/** Larger pictures are rendered at half the resolution, because some viewers refuse them. */
const MOST_PIXELS = 60e6;

/**
 * Renders an SVG drawing as PNG, with two pixels per px of the drawing. Uses resvg and fonts from npm packages, no
 * browser and no system fonts, so that a drawing gives the same bytes on every machine.
 * @throws Error if resvg has no binary for this machine
 */
export async function renderPng(svg: string): Promise<Uint8Array> {
  // Imported lazily: it is a native library, and most commands draw nothing.
  const { Resvg } = await import("@resvg/resvg-js");
  const { resolve } = createRequire(import.meta.url);
  const fontFiles = FONTS.map((file) => resolve(`@expo-google-fonts/inter/${file}`));
  const draw = (value: number) =>
    new Resvg(svg, {
      font: { fontFiles, loadSystemFonts: false, defaultFontFamily: FONT_FAMILY },
      fitTo: { mode: "zoom", value },
    });
  const { width, height } = draw(1);
  return draw(width * height * PIXELS ** 2 > MOST_PIXELS ? 1 : PIXELS)
    .render()
    .asPng();
}
