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
