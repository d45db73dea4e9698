// SVG documents and elements as text, with escaping. Text is dark on white, in the font Inter if the reader has it.

import { Buffer } from "node:buffer";

export const INK = { strong: "#16161d", soft: "#5b5b66" } as const;

/** Number of rendered pixels per px of a drawing. With 2, text is sharp. */
export const PIXELS = 2;

export const FONT_FAMILY = "Inter";

interface TextStyle {
  /** horizontal position of the anchor, px */
  x: number;
  /** vertical position of the baseline, px */
  y: number;
  /** font size, px */
  size: number;
  weight?: 400 | 600;
  anchor?: "start" | "middle" | "end";
  color?: string;
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** An SVG document with a white background. @param elements elements in the order of drawing */
export function svgDocument({ width, height }: { width: number; height: number }, elements: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`,
    ` font-family="${FONT_FAMILY}, 'Helvetica Neue', Arial, sans-serif">\n`,
    `<rect width="100%" height="100%" fill="#ffffff"/>\n`,
    `${elements.join("\n")}\n</svg>\n`,
  ].join("");
}

/** A line of text, which is escaped. */
export function textElement(
  text: string,
  { x, y, size, weight = 400, anchor = "start", color = INK.strong }: TextStyle,
): string {
  const style = `font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" fill="${color}"`;
  return `<text x="${x}" y="${y}" ${style}>${escaped(text)}</text>`;
}

/** Embeds a PNG, scaled to the box without smoothing. */
export function imageElement(png: Uint8Array, { x, y, width, height }: Box): string {
  const place = `x="${x}" y="${y}" width="${width}" height="${height}"`;
  const data = `data:image/png;base64,${Buffer.from(png).toString("base64")}`;
  return `<image ${place} preserveAspectRatio="none" image-rendering="optimizeSpeed" href="${data}"/>`;
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Escapes text for XML and HTML, as content or in an attribute. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (c) => ENTITIES[c] as string);
}

/** Replaces characters that XML does not allow: control characters become spaces, lone surrogates become U+FFFD. */
export function visible(text: string): string {
  return text.toWellFormed().replace(/[^\P{Cc}\n\t]|[\ufffe\uffff]/gu, " ");
}
