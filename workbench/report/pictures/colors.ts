// Colors of charts, pages and block layout pictures. Charts are drawn in the light tones, which chart files keep. In a
// page each tone is replaced with a CSS variable, which has another value in dark mode.

import { INK } from "./svg.ts";

interface Tone {
  light: string;
  dark: string;
}

/** Tones by the name of the page's CSS variable. The series also differ in lightness, for color-blind readers. */
export const TONES = {
  ink: { light: INK.strong, dark: "#ececf1" },
  soft: { light: INK.soft, dark: "#a6a6b3" },
  line: { light: "#e3e3ea", dark: "#34343f" },
  /** for points behind a curve */
  faint: { light: "#b6c1cc", dark: "#4d5966" },
  paper: { light: "#ffffff", dark: "#1b1b22" },
  series1: { light: "#4a3db0", dark: "#a99dff" },
  series2: { light: "#d1490f", dark: "#ff9a5e" },
  series3: { light: "#0b7d76", dark: "#4fd0c4" },
  series4: { light: "#a82f6b", dark: "#ff8dbb" },
  series5: { light: "#8a6c02", dark: "#e2bf4b" },
  series6: { light: "#4d6a85", dark: "#9dbbd6" },
  series7: { light: "#1b6fc2", dark: "#7fb8f5" },
  series8: { light: "#7a3f10", dark: "#d9a273" },
  series9: { light: "#b91c1c", dark: "#ff8f85" },
  series10: { light: "#3c7a1e", dark: "#93d46b" },
} as const satisfies Record<string, Tone>;

/** Light colors of the series of a chart, in order. */
export const SERIES: readonly string[] = Object.entries(TONES).flatMap(([name, { light }]) =>
  name.startsWith("series") ? [light] : [],
);

/** CSS declarations of the variables. */
export function toneVariables(mode: keyof Tone): string {
  return Object.entries(TONES)
    .map(([name, tone]) => `--${name}:${tone[mode]}`)
    .join(";");
}

/** Replaces the colors of fills and strokes in an SVG drawing with the page's CSS variables. */
export function withVariables(svg: string): string {
  return svg.replace(/\b(fill|stroke)="(#[0-9a-f]{6}|white)"/gi, (whole, attribute: string, color: string) => {
    const hex = color === "white" ? TONES.paper.light : color.toLowerCase();
    const name = Object.entries(TONES).find(([, { light }]) => light === hex)?.[0];
    return name === undefined ? whole : `${attribute}="var(--${name})"`;
  });
}

export type Rgb = readonly [number, number, number];

/** Number of colors in `PALETTE`. */
export const LEVELS = 256;

const STOPS: readonly Rgb[] = [
  [6, 5, 16],
  [46, 20, 92],
  [112, 31, 122],
  [180, 50, 104],
  [232, 92, 66],
  [250, 160, 62],
  [252, 246, 196],
];

/**
 * Colors for counts, from black through violet and orange to pale yellow. Lightness increases throughout, so that the
 * scale can be read in grayscale and by color-blind readers.
 */
export const PALETTE: readonly Rgb[] = Array.from({ length: LEVELS }, (_, level) => {
  const at = (level / (LEVELS - 1)) * (STOPS.length - 1);
  const below = Math.min(Math.floor(at), STOPS.length - 2);
  const [from, to] = [STOPS[below] as Rgb, STOPS[below + 1] as Rgb];
  const mix = (i: 0 | 1 | 2) => Math.round(from[i] + (at - below) * (to[i] - from[i]));
  return [mix(0), mix(1), mix(2)];
});

/** Smallest and largest value of a color scale. */
export interface ColorRange {
  least: number;
  most: number;
}

/** Position of the smallest count on the scale, if it is not 0. Black, at position 0, means entries without a block. */
const FIRST = 0.2;

/**
 * Position of a count on the color scale, from 0 (black, no block) to 1 (`most`). If there are entries without a block,
 * the position is the square root of count / most, so that few blocks differ clearly from none. Otherwise it is linear
 * between the smallest and the largest count.
 */
export function heat(value: number, { least, most }: ColorRange): number {
  if (value <= 0) return 0;
  if (most <= least) return 1;
  const share = Math.max(0, Math.min((value - least) / (most - least), 1));
  return least > 0 ? FIRST + (1 - FIRST) * share : Math.sqrt(share);
}

/** Index in `PALETTE` of the color of a value. */
export function levelOf(value: number, range: ColorRange): number {
  return Math.round(heat(value, range) * (LEVELS - 1));
}
