// Color operations on images, in place, and torchvision's ColorJitter, which combines them. They are bit-identical to
// those of Pillow's ImageOps and ImageEnhance.

import type { RandomStream } from "../../random.ts";
import type { Pixels } from "../pixels.ts";
import type { ColorJitter } from "../transform.ts";

const { fround } = Math;

/**
 * Pillow's `Image.blend`, in place. Factor 0 gives `other` and factor 1 the image; other factors interpolate or
 * extrapolate. Values are truncated.
 */
function blend({ data }: Pixels, other: (i: number) => number, factor: number): void {
  const share = fround(factor);
  for (let i = 0; i < data.length; i++) {
    const from = other(i);
    const value = Math.trunc(fround(from + fround(share * ((data[i] as number) - from))));
    data[i] = value < 0 ? 0 : Math.min(value, 255);
  }
}

/** Luma (ITU-R 601) in 16-bit fixed point, as in Pillow. */
const luma = (data: Uint8Array, i: number): number =>
  ((data[i] as number) * 19595 + (data[i + 1] as number) * 38470 + (data[i + 2] as number) * 7471 + 0x8000) >> 16;

/** ImageEnhance.Brightness; factor 1 changes nothing. */
export function brightness(image: Pixels, factor: number): void {
  blend(image, () => 0, factor);
}

/** ImageEnhance.Contrast; factor 1 changes nothing. */
export function contrast(image: Pixels, factor: number): void {
  const { data } = image;
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += luma(data, i);
  const mean = Math.trunc(sum / (data.length / 3) + 0.5);
  blend(image, () => mean, factor);
}

/** ImageEnhance.Color; factor 1 changes nothing. */
export function saturation(image: Pixels, factor: number): void {
  const { data } = image;
  let gray = 0;
  // Gray is computed at red, before any channel of the pixel is changed.
  const grayAt = (i: number): number => {
    if (i % 3 === 0) gray = luma(data, i);
    return gray;
  };
  blend(image, grayAt, factor);
}

/** ImageEnhance.Sharpness; factor 1 changes nothing. */
export function sharpness(image: Pixels, factor: number): void {
  const smooth = smoothed(image);
  blend(image, (i) => smooth[i] as number, factor);
}

/** ImageFilter.SMOOTH: weight 5/13 for a pixel and 1/13 for each of its eight neighbors; border pixels are copied. */
function smoothed({ width, height, data }: Pixels): Uint8Array {
  const out = Uint8Array.from(data);
  const stride = 3 * width;
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * stride + 3; i < (y + 1) * stride - 3; i++) {
      let sum = 4 * (data[i] as number);
      for (let row = i - stride; row <= i + stride; row += stride) {
        sum += (data[row - 3] as number) + (data[row] as number) + (data[row + 3] as number);
      }
      out[i] = Math.trunc(sum / 13 + 0.5);
    }
  }
  return out;
}

/** Maps the values of a channel with a table, which is computed once for all 256 values. */
function through({ data }: Pixels, channel: number, table: (value: number) => number): void {
  const values = Uint8Array.from({ length: 256 }, (_, value) => table(value));
  for (let i = channel; i < data.length; i += 3) data[i] = values[data[i] as number] as number;
}

/** Maps the values of all channels with a table. */
const everywhere = (image: Pixels, table: (value: number) => number): void => {
  for (let c = 0; c < 3; c++) through(image, c, table);
};

/** ImageOps.invert. */
export const invert = (image: Pixels): void => everywhere(image, (value) => 255 - value);

/** ImageOps.posterize. @param kept number of upper bits that are kept, 0 to 8 */
export const posterize = (image: Pixels, kept: number): void =>
  everywhere(image, (value) => (kept >= 8 ? value : value & ~(2 ** (8 - kept) - 1)));

/** ImageOps.solarize: inverts values at or above the threshold. */
export const solarize = (image: Pixels, threshold: number): void =>
  everywhere(image, (value) => (value < threshold ? value : 255 - value));

/** timm's SolarizeAdd: adds to values below the threshold. */
export const solarizeAdd = (image: Pixels, { add, threshold = 128 }: { add: number; threshold?: number }): void =>
  everywhere(image, (value) => (value < threshold ? Math.min(255, value + add) : value));

function histogram({ data }: Pixels, channel: number): Uint32Array {
  const counts = new Uint32Array(256);
  for (let i = channel; i < data.length; i += 3) (counts[data[i] as number] as number)++;
  return counts;
}

/** ImageOps.autocontrast. */
export function autoContrast(image: Pixels): void {
  for (let c = 0; c < 3; c++) {
    const counts = histogram(image, c);
    const [low, high] = [counts.findIndex((count) => count > 0), counts.findLastIndex((count) => count > 0)];
    if (high <= low) continue;
    const scale = 255 / (high - low);
    const offset = -low * scale;
    through(image, c, (value) => Math.max(0, Math.min(255, Math.trunc(value * scale + offset))));
  }
}

/** ImageOps.equalize. */
export function equalize(image: Pixels): void {
  for (let c = 0; c < 3; c++) {
    const counts = histogram(image, c);
    const present = counts.filter((count) => count > 0);
    if (present.length <= 1) continue;
    const step = Math.floor((image.width * image.height - (present.at(-1) as number)) / 255);
    if (step === 0) continue;
    let sum = Math.floor(step / 2);
    const table = Uint8Array.from(counts, (count) => {
      const value = Math.min(255, Math.floor(sum / step));
      sum += count;
      return value;
    });
    through(image, c, (value) => table[value] as number);
  }
}

/** Shifts the hue, as torchvision's `adjust_hue` does. @param turn share of the color circle, −0.5 to 0.5 */
export function hue({ data }: Pixels, turn: number): void {
  const shift = Math.trunc(turn * 255) & 255;
  for (let i = 0; i < data.length; i += 3) {
    const [r, g, b] = [data[i] as number, data[i + 1] as number, data[i + 2] as number];
    const [most, least] = [Math.max(r, g, b), Math.min(r, g, b)];
    if (most === least) continue;
    // Pillow's HSV has 8 bits per channel and is computed in float32.
    const color = (hueOf(r, g, b, most, most - least) + shift) & 255;
    const full = fround(Math.trunc(fround((most - least) / most) * 255) / 255);
    const place = fround((color * 6) / 255);
    const rest = fround(place - Math.floor(place));
    const p = Math.round(most * (1 - full));
    const q = Math.round(most * (1 - full * rest));
    const t = Math.round(most * (1 - full * (1 - rest)));
    const sixth = Math.floor(place) % 6;
    data[i] = sixth === 0 || sixth === 5 ? most : sixth === 1 ? q : sixth === 4 ? t : p;
    data[i + 1] = sixth === 1 || sixth === 2 ? most : sixth === 3 ? q : sixth === 0 ? t : p;
    data[i + 2] = sixth === 3 || sixth === 4 ? most : sixth === 5 ? q : sixth === 2 ? t : p;
  }
}

/** Hue of a color, 0 to 255. `range` is the difference between the largest and the smallest channel. */
function hueOf(r: number, g: number, b: number, most: number, range: number): number {
  const [rc, gc, bc] = [fround((most - r) / range), fround((most - g) / range), fround((most - b) / range)];
  const sixths = fround(r === most ? bc - gc : g === most ? 2 + rc - bc : 4 + gc - rc);
  return Math.trunc(fround((sixths / 6 + 1) % 1) * 255);
}

/** torchvision's ColorJitter, in place: random brightness, contrast, saturation and hue, in random order. */
export function colorJitter(image: Pixels, strengths: ColorJitter, random: RandomStream): Pixels {
  const factor = (strength: number) => random.uniform(Math.max(0, 1 - strength), 1 + strength);
  const changes: [number | undefined, (strength: number) => void][] = [
    [strengths.brightness, (strength) => brightness(image, factor(strength))],
    [strengths.contrast, (strength) => contrast(image, factor(strength))],
    [strengths.saturation, (strength) => saturation(image, factor(strength))],
    [strengths.hue, (strength) => hue(image, random.uniform(-strength, strength))],
  ];
  for (const at of random.order(changes.length)) {
    const [strength, change] = changes[at] as (typeof changes)[number];
    if (strength) change(strength);
  }
  return image;
}
