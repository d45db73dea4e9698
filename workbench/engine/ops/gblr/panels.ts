// The product with a packed GBLR matrix whose factors are sorted into panels, for inference. The torch backend runs an
// operator of the addon (native/gblr/panel-product.cc) that reads only the panels; the composition here, for the other
// backends, makes both factors whole.

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
} from "@tensorflow/tfjs-core";
import { asRows, registerPortable, runKernel } from "../op.ts";
import { expectOperand } from "../operands.ts";
import { PANEL_PRODUCT, PANEL_WIDTH, type PanelProductAttributes, type PanelProductInputs } from "./kernels.ts";

const HALF = PANEL_WIDTH / 2;

/** A matrix (n_in, n_out) of which each column has values in a few intervals only. */
export interface Panels {
  /** float32 (values), run after run, row after row */
  values: Tensor1D;
  /**
   * int32 (4, runs), in the order of chunks: chunk of 32 columns; 0 for all its columns, 1 for the first half, 2 for the
   * second; first row of the matrix; number of rows
   */
  runs: Tensor2D;
}

/** The factors and the bias of a product with panels. */
export interface PanelProductOperands {
  /** Vᵀ (n_in, B) */
  input: Panels;
  /** U (B, n_out) */
  output: Panels;
  /** float32 (n_out) */
  bias?: Tensor1D | undefined;
  blocks: number;
  nOut: number;
}

/**
 * y = x Vᵀ U + b, with both factors as panels.
 * @param x float32 (..., n_in)
 * @returns float32 (..., n_out)
 * @throws ShapeError when an operand does not fit; runs must lie within the factors and cover the values
 */
export function panelProduct(x: Tensor, { input, output, bias, blocks, nOut }: PanelProductOperands): Tensor {
  expectOperand("panelProduct", { x }, { dtype: "float32", shape: ["...", "n_in"] });
  const [valuesIn, valuesOut, runsIn, runsOut] = [input.values, output.values, input.runs, output.runs];
  expectOperand("panelProduct", { valuesIn, valuesOut }, { dtype: "float32", shape: ["values"] });
  expectOperand("panelProduct", { runsIn, runsOut }, { dtype: "int32", shape: [4, "runs"] });
  if (bias !== undefined) {
    expectOperand("panelProduct", { bias }, { dtype: "float32", shape: [nOut] });
  }
  const inputs: NamedTensorMap = { x, valuesIn, runsIn, valuesOut, runsOut, ...(bias && { bias }) };
  return runKernel(PANEL_PRODUCT, inputs, { blocks, nOut })[0] as Tensor;
}

/**
 * The matrix of panels.
 * @returns float32 (n_in, n_out)
 */
export function panelMatrix({ values, runs }: Panels, { nIn, nOut }: { nIn: number; nOut: number }): Tensor2D {
  return tidy(() => {
    const halves = 2 * Math.ceil(nOut / PANEL_WIDTH);
    const lines = reshape(values, [-1, HALF]);
    const all = scatterND(placesOf(runs, { lines: lines.shape[0] as number, nIn }), lines, [halves * nIn, HALF]);
    const matrix = reshape(transpose(reshape(all, [halves, nIn, HALF]), [1, 0, 2]), [nIn, halves * HALF]);
    return slice(matrix as Tensor2D, [0, 0], [nIn, nOut]);
  });
}

registerPortable<PanelProductInputs, PanelProductAttributes>(
  PANEL_PRODUCT,
  ({ x, valuesIn, runsIn, valuesOut, runsOut, bias }, { blocks, nOut }) => {
    const matrix = (values: Tensor, runs: Tensor, size: { nIn: number; nOut: number }) =>
      panelMatrix({ values: values as Tensor1D, runs: runs as Tensor2D }, size);
    const rows = asRows(x) as Tensor2D;
    const z = matMul(rows, matrix(valuesIn, runsIn, { nIn: rows.shape[1], nOut: blocks }));
    const product = matMul(z, matrix(valuesOut, runsOut, { nIn: blocks, nOut }));
    const y = bias === undefined ? product : add(product, reshape(bias, [1, nOut]));
    return reshape(y, [...x.shape.slice(0, -1), nOut]);
  },
);

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
