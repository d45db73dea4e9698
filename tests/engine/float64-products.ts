// Matrix products and convolution gradients by their definition, in float64 and with plain loops: the truth for kernel
// tests. Not fast, not for large sizes.

/** (batch, rows, inner) × (batch, inner, columns), each matrix given by a function of its indices. */
export function matMul(
  { batch, rows, inner, columns }: { batch: number; rows: number; inner: number; columns: number },
  a: (matrix: number, row: number, k: number) => number,
  b: (matrix: number, k: number, column: number) => number,
): number[] {
  const product: number[] = [];
  for (let matrix = 0; matrix < batch; matrix++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) {
          sum += a(matrix, row, k) * b(matrix, k, column);
        }
        product.push(sum);
      }
    }
  }
  return product;
}

export interface Convolution {
  batch: number;
  height: number;
  width: number;
  channelsIn: number;
  channelsOut: number;
  filterHeight: number;
  filterWidth: number;
  strideHeight: number;
  strideWidth: number;
  /** rows above and below, columns left and right */
  pad: [[number, number], [number, number]];
}

export function outputSize(c: Convolution): [height: number, width: number] {
  const [[top, bottom], [left, right]] = c.pad;
  return [
    Math.floor((c.height + top + bottom - c.filterHeight) / c.strideHeight) + 1,
    Math.floor((c.width + left + right - c.filterWidth) / c.strideWidth) + 1,
  ];
}

/**
 * Both gradients, from x (batch, height, width, channels in), filter (height, width, channels in, channels out) and dy
 * (batch, height out, width out, channels out), all flat.
 */
export function convolutionGradients(
  c: Convolution,
  { x, filter, dy }: { x: ArrayLike<number>; filter: ArrayLike<number>; dy: ArrayLike<number> },
): { dx: Float64Array; dFilter: Float64Array } {
  const [outHeight, outWidth] = outputSize(c);
  const dx = new Float64Array(x.length);
  const dFilter = new Float64Array(filter.length);
  visit(c, [outHeight, outWidth], (output, input, tap) => {
    for (let from = 0; from < c.channelsIn; from++) {
      for (let to = 0; to < c.channelsOut; to++) {
        const weight = (tap * c.channelsIn + from) * c.channelsOut + to;
        const slope = dy[output * c.channelsOut + to] as number;
        const at = input * c.channelsIn + from;
        dx[at] = (dx[at] as number) + slope * (filter[weight] as number);
        dFilter[weight] = (dFilter[weight] as number) + slope * (x[at] as number);
      }
    }
  });
  return { dx, dFilter };
}

/** Every pair of an output and an input position that some tap of the filter connects. */
function visit(
  c: Convolution,
  [outHeight, outWidth]: [number, number],
  use: (output: number, input: number, tap: number) => void,
): void {
  const [[top], [left]] = c.pad;
  for (let output = 0; output < c.batch * outHeight * outWidth; output++) {
    const image = Math.floor(output / (outHeight * outWidth));
    const row = (Math.floor(output / outWidth) % outHeight) * c.strideHeight - top;
    const column = (output % outWidth) * c.strideWidth - left;
    for (let tap = 0; tap < c.filterHeight * c.filterWidth; tap++) {
      const y = row + Math.floor(tap / c.filterWidth);
      const x = column + (tap % c.filterWidth);
      if (y >= 0 && y < c.height && x >= 0 && x < c.width) {
        use(output, (image * c.height + y) * c.width + x, tap);
      }
    }
  }
}
