// Interpolates learned positions of patches to images of another size, as timm's resample_abs_pos_embed does: bicubic
// with Keys' kernel, a = -1/2, and antialiasing if the grid becomes smaller. PyTorch's interpolate(mode="bicubic",
// antialias=True) and Pillow compute the same. It runs on the host, because the tables are small.

interface Resampling {
  rows: number;
  columns: number;
  channels: number;
  toRows: number;
  toColumns: number;
}

/**
 * Resizes an image of numbers.
 * @param values (rows, columns, channels)
 * @returns (toRows, toColumns, channels)
 */
function resampled(values: Float32Array, { rows, columns, channels, toRows, toColumns }: Resampling): Float32Array {
  const across = weightsOf(columns, toColumns);
  const down = weightsOf(rows, toRows);
  const wide = new Float64Array(rows * toColumns * channels);
  for (let row = 0; row < rows; row++) {
    for (const [column, { first, weights }] of across.entries()) {
      for (const [i, weight] of weights.entries()) {
        const from = (row * columns + first + i) * channels;
        const to = (row * toColumns + column) * channels;
        for (let c = 0; c < channels; c++)
          wide[to + c] = (wide[to + c] as number) + weight * (values[from + c] as number);
      }
    }
  }
  const found = new Float32Array(toRows * toColumns * channels);
  const length = toColumns * channels;
  for (const [row, { first, weights }] of down.entries()) {
    const sums = new Float64Array(length);
    for (const [i, weight] of weights.entries()) {
      const from = (first + i) * length;
      for (let at = 0; at < length; at++) sums[at] = (sums[at] as number) + weight * (wide[from + at] as number);
    }
    found.set(sums, row * length);
  }
  return found;
}

interface Window {
  first: number;
  weights: number[];
}

/** For each of `to` samples, the index of the first of the `from` samples that contribute to it, and their weights. */
function weightsOf(from: number, to: number): Window[] {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at): Window => {
    const center = scale * (at + 0.5);
    const first = Math.max(0, Math.trunc(center - 2 * reach + 0.5));
    const end = Math.min(from, Math.trunc(center + 2 * reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) => keys((i + first - center + 0.5) / reach));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/** The cubic convolution kernel of Keys 1981 with a = -1/2. */
function keys(x: number): number {
  const [a, d] = [-0.5, Math.abs(x)];
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

/**
 * Interpolates a table of positions from a grid of from × from patches to one of to × to.
 * @param table (first + from², n), row by row
 * @param options.first number of rows before those of the grid, which are copied unchanged
 * @param options.width n
 * @returns (first + to², n)
 */
export function resizedPositions(
  table: Float32Array,
  { first, from, to, width }: { first: number; from: number; to: number; width: number },
): Float32Array {
  const kept = table.subarray(0, first * width);
  const grid = table.subarray(first * width);
  const resized = resampled(grid, { rows: from, columns: from, channels: width, toRows: to, toColumns: to });
  const all = new Float32Array(kept.length + resized.length);
  all.set(kept);
  all.set(resized, kept.length);
  return all;
}
