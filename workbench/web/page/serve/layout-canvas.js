// Draws block layouts on a canvas, in the colors of the pictures of reports.

import { heat, rangeOf, rasterOf } from "./layout-raster.js";

/** @typedef {import("./layout-raster.js").Blocks} Blocks @typedef {import("./layout-raster.js").View} View */

/** Pixels a side in which the range of colors is found, so that colors stay the same while one zooms. */
const RANGE_SIDE = 256;

/** @type {WeakMap<Blocks, { least: number, most: number }>} */
const ranges = new WeakMap();

/** The range of the color scale of a matrix: smallest and largest number of blocks. @param {Blocks} blocks */
export function colorRange(blocks) {
  const side = (/** @type {number} */ n) => Math.min(n, RANGE_SIDE);
  const found =
    ranges.get(blocks) ?? rangeOf(rasterOf(blocks, { width: side(blocks.n_in), height: side(blocks.n_out) }));
  ranges.set(blocks, found);
  return found;
}

/**
 * Draws a part of a layout over the whole canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {Blocks} blocks
 * @param {{ palette: readonly string[], view?: View }} options
 */
export function drawLayout(canvas, blocks, { palette, view }) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  if (!context || width === 0 || height === 0) return;
  const range = colorRange(blocks);
  // Opaque colors as the canvas has them in memory: blue, green and red from the highest byte down.
  const colors = palette.map((hex) => {
    const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
    return 0xff000000 | (blue << 16) | (green << 8) | red;
  });
  const values = rasterOf(blocks, { ...(view && { view }), width, height });
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  values.forEach((value, i) => {
    pixels[i] = colors[Math.round(heat(value, range) * (colors.length - 1))] ?? 0;
  });
  context.putImageData(image, 0, 0);
}
