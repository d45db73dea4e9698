// Block layouts as pixels: how many blocks cover an entry of the matrix, for any part of it at any size.

/**
 * @typedef {object} Blocks the answer of /layers/blocks; starts and lengths are in samples, starts are cyclic
 * @property {number} n_in
 * @property {number} n_out
 * @property {number[]} start_in
 * @property {number[]} length_in
 * @property {number[]} start_out
 * @property {number[]} length_out
 *
 * @typedef {{ x: number, y: number, size: number }} View a part of the matrix: its upper left corner and its size, as
 *   shares of the sides; x is along the input
 */

/** The whole matrix. @type {View} */
export const WHOLE = { x: 0, y: 0, size: 1 };

/** Share of a side that is shown at most magnified: so many samples. */
const FEWEST_SAMPLES = 4;

/**
 * The part that is shown after a zoom; a point of the matrix stays where it is on the screen.
 * @param {View} view
 * @param {{ factor: number, at?: { x: number, y: number }, blocks: Pick<Blocks, "n_in" | "n_out"> }} change `factor`: below 1
 *   magnifies; `at`: the point as shares of the picture, by default its middle
 * @returns {View}
 */
export function zoomed({ x, y, size }, { factor, at = { x: 0.5, y: 0.5 }, blocks }) {
  const least = Math.min(1, FEWEST_SAMPLES / Math.max(blocks.n_in, blocks.n_out));
  const next = Math.min(1, Math.max(least, size * factor));
  return within({ x: x + (size - next) * at.x, y: y + (size - next) * at.y, size: next });
}

/** The part moved by shares of itself. @param {View} view @param {{ x: number, y: number }} by @returns {View} */
export const moved = ({ x, y, size }, by) => within({ x: x + by.x * size, y: y + by.y * size, size });

/** @param {View} view @returns {View} */
const within = ({ x, y, size }) => ({
  x: Math.max(0, Math.min(x, 1 - size)),
  y: Math.max(0, Math.min(y, 1 - size)),
  size,
});

/**
 * The mean number of blocks over the entries under each pixel.
 * @param {Blocks} blocks
 * @param {{ view?: View, width: number, height: number }} options
 * @returns {Float64Array} (height, width), row by row
 */
export function rasterOf(blocks, { view = WHOLE, width, height }) {
  // A block is the product of two ramps. Each adds its slopes at its corners; two running sums make the block of them.
  const line = width + 2;
  const sums = new Float64Array(line * (height + 2));
  const across = { n: blocks.n_in, from: view.x, size: view.size, pixels: width };
  const down = { n: blocks.n_out, from: view.y, size: view.size, pixels: height };
  for (let b = 0; b < blocks.start_in.length; b++) {
    const columns = changesOf(blocks.start_in[b] ?? 0, blocks.length_in[b] ?? 0, across);
    const rows = changesOf(blocks.start_out[b] ?? 0, blocks.length_out[b] ?? 0, down);
    for (const [row, byRow] of rows) {
      for (const [column, byColumn] of columns) {
        const at = row * line + column;
        sums[at] = (sums[at] ?? 0) + byRow * byColumn;
      }
    }
  }
  return summed(sums, { line, width, height });
}

/** @param {Float64Array} sums @param {{ line: number, width: number, height: number }} size */
function summed(sums, { line, width, height }) {
  const values = new Float64Array(width * height);
  const above = new Float64Array(width);
  for (let y = 0; y < height; y++) {
    let along = 0;
    for (let x = 0; x < width; x++) {
      along += sums[y * line + x] ?? 0;
      above[x] = (above[x] ?? 0) + along;
      // Rounding errors of the running sums must not look like blocks.
      values[y * width + x] = Math.round(1e6 * (above[x] ?? 0)) / 1e6;
    }
  }
  return values;
}

/**
 * Where the share of pixels that a cyclic span covers changes, and by how much.
 * @param {number} start @param {number} length
 * @param {{ n: number, from: number, size: number, pixels: number }} side
 * @returns {[pixel: number, by: number][]}
 */
function changesOf(start, length, { n, from, size, pixels }) {
  const end = start + length;
  const parts =
    end <= n
      ? [[start, end]]
      : [
          [start, n],
          [0, end - n],
        ];
  const pixelOf = (/** @type {number} */ sample) =>
    Math.max(0, Math.min(((sample / n - from) / size) * pixels, pixels));
  return parts.flatMap(([first = 0, last = 0]) => [...edge(pixelOf(first), 1), ...edge(pixelOf(last), -1)]);
}

/** An edge within a pixel covers a part of it. @param {number} at @param {1 | -1} sign @returns {[number, number][]} */
function edge(at, sign) {
  const pixel = Math.floor(at);
  const rest = at - pixel;
  return [
    [pixel, sign * (1 - rest)],
    [pixel + 1, sign * rest],
  ];
}

/** The number of blocks over one entry. @param {Blocks} blocks @param {number} column @param {number} row */
export function blocksAt(blocks, column, row) {
  const covers = (
    /** @type {number | undefined} */ start = 0,
    /** @type {number | undefined} */ length = 0,
    at = 0,
    n = 1,
  ) => (at - start + n) % n < length;
  return blocks.start_in.filter(
    (start, b) =>
      covers(start, blocks.length_in[b], column, blocks.n_in) &&
      covers(blocks.start_out[b], blocks.length_out[b], row, blocks.n_out),
  ).length;
}

/** Position of the smallest count on the scale, if it is not 0. Black, at position 0, means entries without a block. */
const FIRST = 0.2;

/**
 * Position of a count on the color scale, as in the pictures of reports: from 0, no block, to 1.
 * @param {number} value @param {{ least: number, most: number }} range
 */
export function heat(value, { least, most }) {
  if (value <= 0) return 0;
  if (most <= least) return 1;
  const share = Math.max(0, Math.min((value - least) / (most - least), 1));
  return least > 0 ? FIRST + (1 - FIRST) * share : Math.sqrt(share);
}

/** Smallest and largest value. @param {Float64Array} values */
export function rangeOf(values) {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return { least: Math.min(least, most), most };
}
