// The product with a matrix of which each column has values other than zero in a few intervals only, for inference. The
// torch backend runs an operator of the addon (native/gblr/panel-product.cc) that skips the other rows; the composition
// here, for the other backends, makes the whole matrix.

import {
  add,
  cast,
  cumsum,
  equal,
  floorDiv,
  gather,
  lessEqual,
  matMul,
  mul,
  type NamedTensorMap,
  range,
  reshape,
  scatterND,
  slice,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  transpose,
  zeros,
} from "@tensorflow/tfjs-core";
import { asRows, registerPortable, runKernel } from "../op.ts";
import { expectOperand } from "../operands.ts";
import { PANEL_PRODUCT, PANEL_WIDTH, type PanelProductAttributes, type PanelProductInputs } from "./kernels.ts";

const HALF = PANEL_WIDTH / 2;

/** The matrix and the bias of a product with panels. */
export interface PanelProductOperands {
  /** float32 (values), run after run, row after row */
  values: Tensor1D;
  /**
   * int32 (4, runs), in the order of chunks: chunk of 32 columns; 0 for all its columns, 1 for the first half, 2 for the
   * second; first row of the matrix; number of rows
   */
  runs: Tensor2D;
  /** float32 (n_out) */
  bias?: Tensor1D | undefined;
  nOut: number;
}

/**
 * y = x M + b, where M (n_in, n_out) is given as panels.
 * @param x float32 (..., n_in)
 * @returns float32 (..., n_out)
 * @throws ShapeError when an operand does not fit; runs must lie within the matrix and cover the values
 */
export function panelProduct(x: Tensor, { values, runs, bias, nOut }: PanelProductOperands): Tensor {
  expectOperand("panelProduct", { x }, { dtype: "float32", shape: ["...", "n_in"] });
  expectOperand("panelProduct", { values }, { dtype: "float32", shape: ["values"] });
  expectOperand("panelProduct", { runs }, { dtype: "int32", shape: [4, "runs"] });
  if (bias !== undefined) {
    expectOperand("panelProduct", { bias }, { dtype: "float32", shape: [nOut] });
  }
  return tidy("panelProduct", () => {
    const inputs: NamedTensorMap = { x: asRows(x), values, runs, ...(bias && { bias }) };
    const [y] = runKernel(PANEL_PRODUCT, inputs, { nOut }) as [Tensor];
    return reshape(y, [...x.shape.slice(0, -1), nOut]);
  });
}

/**
 * The matrix M of panels.
 * @returns float32 (n_in, n_out)
 */
export function panelMatrix({ values, runs, nOut }: Omit<PanelProductOperands, "bias">, nIn: number): Tensor2D {
  if (runs.shape[1] === 0) {
    return zeros([nIn, nOut]);
  }
  return tidy(() => {
    const halves = 2 * Math.ceil(nOut / PANEL_WIDTH);
    const lines = reshape(values, [-1, HALF]);
    const all = scatterND(placesOf(runs, { lines: lines.shape[0] as number, nIn }), lines, [halves * nIn, HALF]);
    const matrix = reshape(transpose(reshape(all, [halves, nIn, HALF]), [1, 0, 2]), [nIn, halves * HALF]);
    return slice(matrix as Tensor2D, [0, 0], [nIn, nOut]);
  });
}

registerPortable<PanelProductInputs, PanelProductAttributes>(PANEL_PRODUCT, ({ x, values, runs, bias }, { nOut }) => {
  const nIn = x.shape[1] as number;
  const panels = { values: values as Tensor1D, runs: runs as Tensor2D, nOut };
  const y = matMul(x as Tensor2D, panelMatrix(panels, nIn));
  return bias === undefined ? y : add(y, reshape(bias, [1, nOut]));
});

/** For each line of 16 values, its half · n_in + its row, where halves of all chunks are numbered: int32 (lines, 1). */
function placesOf(runs: Tensor, { lines, nIn }: { lines: number; nIn: number }): Tensor2D {
  const count = runs.shape[1] as number;
  const part = (of: Tensor, at: number) => reshape(slice(of, [at, 0], [1, of.shape[1] as number]), [-1]);
  // lines of each row of a run: 2 for whole chunks
  const perRow = add(cast(equal(part(runs, 1), 0), "int32"), 1);
  const ends = cumsum(mul(part(runs, 3), perRow));
  const line = range(0, lines, 1, "int32");
  // the run of each line: the number of runs that end at or before it
  const run = sum(cast(lessEqual(reshape(ends, [1, count]), reshape(line, [lines, 1])), "int32"), 1);
  const of = (perRun: Tensor) => gather(perRun, cast(run, "int32"));
  const within = sub(line, of(sub(ends, mul(part(runs, 3), perRow))));
  const row = floorDiv(within, of(perRow));
  const half = add(sub(within, mul(row, of(perRow))), cast(equal(of(part(runs, 1)), 2), "int32"));
  const place = add(mul(add(mul(of(part(runs, 0)), 2), half), nIn), add(of(part(runs, 2)), row));
  return reshape(cast(place, "int32"), [lines, 1]);
}
