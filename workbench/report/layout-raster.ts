// A block layout as a small grid of numbers: the mean number of blocks over the entries that a pixel stands for. A
// matrix smaller than the grid keeps its own entries as pixels.

import { type BlockLayout, overlapCounts } from "./block-layout.ts";

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
  const counts = overlapCounts(layout);
  const values = new Float64Array(width * height);
  for (let y = 0; y < height; y++) {
    const [top, bottom] = [Math.floor((y * nOut) / height), Math.floor(((y + 1) * nOut) / height)];
    for (let x = 0; x < width; x++) {
      const [left, right] = [Math.floor((x * nIn) / width), Math.floor(((x + 1) * nIn) / width)];
      let sum = 0;
      for (let i = top; i < bottom; i++) {
        for (let j = left; j < right; j++) sum += counts[i * nIn + j] as number;
      }
      values[y * width + x] = sum / ((bottom - top) * (right - left));
    }
  }
  return { width, height, values };
}
