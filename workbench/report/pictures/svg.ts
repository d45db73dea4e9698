// The few SVG elements that our drawings are made of, as text. Text is dark on white, in Inter where the reader has it.

import { Buffer } from "node:buffer";

export const INK = { strong: "#16161d", soft: "#5b5b66" } as const;

/** Device pixels for each px of a drawing, so that text is sharp. */
export const PIXELS = 2;

export const FONT_FAMILY = "Inter";

export interface TextStyle {
  /** of the baseline's beginning, middle or end; px */
  x: number;
  y: number;
  /** of the font, px */
  size: number;
  weight?: 400 | 600;
  anchor?: "start" | "middle" | "end";
  color?: string;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export function svgDocument({ width, height }: { width: number; height: number }, elements: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`,
    ` font-family="${FONT_FAMILY}, 'Helvetica Neue', Arial, sans-serif">\n`,
    `<rect width="100%" height="100%" fill="#ffffff"/>\n`,
    `${elements.join("\n")}\n</svg>\n`,
  ].join("");
}

export function textElement(
  text: string,
  { x, y, size, weight = 400, anchor = "start", color = INK.strong }: TextStyle,
): string {
  const style = `font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" fill="${color}"`;
  return `<text x="${x}" y="${y}" ${style}>${escaped(text)}</text>`;
}

/** A PNG, stretched to the box without smoothing: each of its pixels stays one color. */
export function imageElement(png: Uint8Array, { x, y, width, height }: Box): string {
  const place = `x="${x}" y="${y}" width="${width}" height="${height}"`;
  const data = `data:image/png;base64,${Buffer.from(png).toString("base64")}`;
  return `<image ${place} preserveAspectRatio="none" image-rendering="optimizeSpeed" href="${data}"/>`;
}

// Text made fit for XML and HTML, content and attributes alike.

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Names as content and as attributes. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (c) => ENTITIES[c] as string);
}

/** Control characters and halves of characters have no place in XML, not even escaped: they become spaces and marks. */
export function visible(text: string): string {
  return text.toWellFormed().replace(/[^\P{Cc}\n\t]|[\ufffe\uffff]/gu, " ");
}
