// Affine transforms of an image, bit-identical to Pillow's `Image.transform`: samples are taken at pixel centers, edge
// pixels are repeated by half a pixel, a color fills what lies outside, and values are truncated instead of rounded.

import { blank, type Pixels } from "../pixels.ts";
import type { Interpolation } from "../transform.ts";

/** Maps a position (x, y) of the result to its source, (a x + b y + c, d x + e y + f). */
export type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** Interpolation and border of an affine transform. */
export interface AffineOptions {
  interpolation: Exclude<Interpolation, "nearest">;
  /** color of pixels from outside of the image, 0 to 255 */
  fill: readonly [number, number, number];
}

/** Counterclockwise rotation about the center of an image. */
export function rotation({ width, height }: Pixels, degrees: number): Affine {
  const angle = (-degrees * Math.PI) / 180;
  // Rounded as in Pillow, because truncation makes the last digit visible.
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map((value) => Number(value.toFixed(15))) as [number, number];
  const [x, y] = [width / 2, height / 2];
  return [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
}

/** Applies an affine transform to an image. */
export function transformed(image: Pixels, [a, b, c, d, e, f]: Affine, { interpolation, fill }: AffineOptions): Pixels {
  const { width, height } = image;
  const out = blank(width, height);
  const sample = interpolation === "bilinear" ? bilinear : bicubic;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const fromX = a * (x + 0.5) + b * (y + 0.5) + c;
      const fromY = d * (x + 0.5) + e * (y + 0.5) + f;
      if (fromX < 0 || fromX >= width || fromY < 0 || fromY >= height) out.data.set(fill, to);
      else sample(image, { x: fromX - 0.5, y: fromY - 0.5 }, out.data, to);
    }
  }
  return out;
}

interface Point {
  x: number;
  y: number;
}

/** Clamps a row or column to 0 … length − 1. */
const within = (value: number, length: number): number => (value < 0 ? 0 : Math.min(value, length - 1));

function bilinear({ width, height, data }: Pixels, { x, y }: Point, out: Uint8Array, to: number): void {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [x - column, y - row];
  const [left, right] = [3 * within(column, width), 3 * within(column + 1, width)];
  const [upper, lower] = [3 * width * within(row, height), 3 * width * within(row + 1, height)];
  for (let c = 0; c < 3; c++) {
    const above = mix(data[upper + left + c] as number, data[upper + right + c] as number, dx);
    const below = mix(data[lower + left + c] as number, data[lower + right + c] as number, dx);
    out[to + c] = Math.trunc(mix(above, below, dy));
  }
}

/** Linear interpolation from a at share 0 to b at share 1. */
const mix = (a: number, b: number, share: number): number => a + (b - a) * share;

/**
 * Bicubic interpolation from sixteen neighbors. Their offsets are in separate variables, because an array for each
 * pixel would take ten times as long.
 */
function bicubic({ width, height, data }: Pixels, { x, y }: Point, out: Uint8Array, to: number): void {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [x - column, y - row];
  const stride = 3 * width;
  const a = 3 * within(column - 1, width);
  const b = 3 * within(column, width);
  const c = 3 * within(column + 1, width);
  const d = 3 * within(column + 2, width);
  const first = stride * within(row - 1, height);
  const second = stride * within(row, height);
  const third = stride * within(row + 1, height);
  const fourth = stride * within(row + 2, height);
  for (let channel = 0; channel < 3; channel++) {
    const value = cubic(
      across(data, first + channel, a, b, c, d, dx),
      across(data, second + channel, a, b, c, d, dx),
      across(data, third + channel, a, b, c, d, dx),
      across(data, fourth + channel, a, b, c, d, dx),
      dy,
    );
    out[to + channel] = value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value);
  }
}

/** Cubic interpolation along a row, from the four columns at offsets a, b, c and d. */
function across(data: Uint8Array, line: number, a: number, b: number, c: number, d: number, x: number): number {
  return cubic(
    data[line + a] as number,
    data[line + b] as number,
    data[line + c] as number,
    data[line + d] as number,
    x,
  );
}

/** Cubic interpolation that is b at x = 0 and c at x = 1: Keys' kernel with a = −1. Resizing uses a = −1/2. */
function cubic(a: number, b: number, c: number, d: number, x: number): number {
  return b + x * (c - a + x * (2 * (a - b) + c - d + x * (b - a - c + d)));
}
