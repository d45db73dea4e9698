// A block layout as a small grid of numbers: the mean number of blocks over the entries that a pixel stands for. A
// matrix smaller than the grid keeps its own entries as pixels.

import type { BlockLayout } from "../structures/structure.ts";
import { overlapRows } from "./block-layout.ts";

export interface Raster {
  /** input side, left to right */
  width: number;
  /** output side, top to bottom */
  height: number;
  /** row by row from the top */
  values: Float64Array;
}

/** @param most pixels on a side */
export function rasterOf(layout: BlockLayout, most: number): Raster {
  const { nIn, nOut } = layout;
  const [width, height] = [Math.min(nIn, most), Math.min(nOut, most)];
  const values = new Float64Array(width * height);
  const [column, row] = [pixelOf(nIn, width), pixelOf(nOut, height)];
  // One pass in the order of memory: a full GPT-2 has tens of millions of entries.
  let i = 0;
  for (const counts of overlapRows(layout)) {
    const line = (row[i++] as number) * width;
    for (let j = 0; j < nIn; j++) {
      const at = line + (column[j] as number);
      values[at] = (values[at] as number) + (counts[j] as number);
    }
  }
  const [across, down] = [sizes(column, width), sizes(row, height)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      values[at] = (values[at] as number) / ((across[x] as number) * (down[y] as number));
    }
  }
  return { width, height, values };
}

/** The pixel that each of n entries falls into: pixel p has those from ⌊p n / pixels⌋ on. */
function pixelOf(n: number, pixels: number): Int32Array {
  const found = new Int32Array(n);
  for (let p = 0; p < pixels; p++) found.fill(p, Math.floor((p * n) / pixels), Math.floor(((p + 1) * n) / pixels));
  return found;
}

/** How many entries each pixel has. */
function sizes(pixelOfEntry: Int32Array, pixels: number): Int32Array {
  const count = new Int32Array(pixels);
  for (const pixel of pixelOfEntry) count[pixel] = (count[pixel] as number) + 1;
  return count;
}
