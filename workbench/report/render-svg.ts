// Makes a PNG of an SVG drawing, with resvg and a font that come with the package: no browser, no system fonts. The
// same drawing gives the same bytes on every machine.

import { createRequire } from "node:module";
import { FONT_FAMILY, PIXELS } from "./svg.ts";

const FONTS = ["400Regular/Inter_400Regular.ttf", "600SemiBold/Inter_600SemiBold.ttf"];

/** Beyond so many pixels a picture is drawn at half the resolution: viewers refuse larger ones. */
const MOST_PIXELS = 60e6;

/**
 * Twice as many pixels a side as the drawing has px.
 * @throws Error when resvg has no binary for this machine
 */
export async function renderPng(svg: string): Promise<Uint8Array> {
  // Loaded when first needed: it is a native library, and most commands draw nothing.
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
