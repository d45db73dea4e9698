// The colors of charts and pages. A chart is drawn in the light ones, so that it is right as a file; in a page each of
// them gives way to a variable, which dark mode sets anew.

import { INK } from "./svg.ts";

interface Tone {
  light: string;
  dark: string;
}

/** By the name of the page's variable. Series are told apart by color-blind eyes too, and differ in lightness. */
export const TONES = {
  ink: { light: INK.strong, dark: "#ececf1" },
  soft: { light: INK.soft, dark: "#a6a6b3" },
  line: { light: "#e3e3ea", dark: "#34343f" },
  /** of what stands behind a curve */
  faint: { light: "#b6c1cc", dark: "#4d5966" },
  paper: { light: "#ffffff", dark: "#1b1b22" },
  series1: { light: "#4a3db0", dark: "#a99dff" },
  series2: { light: "#d1490f", dark: "#ff9a5e" },
  series3: { light: "#0b7d76", dark: "#4fd0c4" },
  series4: { light: "#a82f6b", dark: "#ff8dbb" },
  series5: { light: "#8a6c02", dark: "#e2bf4b" },
  series6: { light: "#4d6a85", dark: "#9dbbd6" },
} as const satisfies Record<string, Tone>;

export const SERIES: readonly string[] = Object.entries(TONES).flatMap(([name, { light }]) =>
  name.startsWith("series") ? [light] : [],
);

/** Declarations of the variables, for a CSS rule. */
export function toneVariables(mode: keyof Tone): string {
  return Object.entries(TONES)
    .map(([name, tone]) => `--${name}:${tone[mode]}`)
    .join(";");
}

/** Fills and strokes of an SVG drawing in the page's variables. Text is left alone. */
export function withVariables(svg: string): string {
  return svg.replace(/\b(fill|stroke)="(#[0-9a-f]{6}|white)"/gi, (whole, attribute: string, color: string) => {
    const hex = color === "white" ? TONES.paper.light : color.toLowerCase();
    const name = Object.entries(TONES).find(([, { light }]) => light === hex)?.[0];
    return name === undefined ? whole : `${attribute}="var(--${name})"`;
  });
}

// Colors for counts: the more, the brighter, from black through violet and orange to pale yellow. Lightness rises all
// along, so that the picture reads in gray and for color-blind eyes too.

export type Rgb = readonly [number, number, number];

/** Colors in a palette, the first for 0. */
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

/** LEVELS colors, even steps along the stops. */
export const PALETTE: readonly Rgb[] = Array.from({ length: LEVELS }, (_, level) => {
  const at = (level / (LEVELS - 1)) * (STOPS.length - 1);
  const below = Math.min(Math.floor(at), STOPS.length - 2);
  const [from, to] = [STOPS[below] as Rgb, STOPS[below + 1] as Rgb];
  const mix = (i: 0 | 1 | 2) => Math.round(from[i] + (at - below) * (to[i] - from[i]));
  return [mix(0), mix(1), mix(2)];
});

/** Where a count lies between nothing (0) and `most` (1). By square root: one block or none must differ at a glance. */
export function heat(count: number, most: number): number {
  return most > 0 ? Math.sqrt(Math.min(count / most, 1)) : 0;
}

export function levelOf(count: number, most: number): number {
  return Math.round(heat(count, most) * (LEVELS - 1));
}
