// gaudiMask: windows on a circle of n samples, each the difference of an edge function at the window's two ends, with
// gradients to location and width (docs/method.md). The caller provides tables of the edge function. The torch backend
// runs one operator of the addon in each direction (native/gblr/gaudi-mask.cc), the wasm backend a loop for masks of
// whole samples (backends/wasm/gblr.ts); the compositions of tf.* operations at the end of this file serve the other
// backends.

import {
  abs,
  add,
  cast,
  concat,
  div,
  expandDims,
  floor,
  gather,
  greater,
  greaterEqual,
  less,
  matMul,
  mul,
  notEqual,
  onesLike,
  range,
  reshape,
  round,
  stack,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
} from "@tensorflow/tfjs-core";
import { differentiable, registerPortable, runKernel, type Tensors } from "../op.ts";
import { expectOperand } from "../operands.ts";
import {
  GAUDI_MASK,
  GAUDI_MASK_GRADIENT,
  type GaudiMaskAttributes,
  type GaudiMaskGradientInputs,
  type GaudiMaskInputs,
} from "./kernels.ts";

export interface GaudiMaskTables {
  /**
   * float32 (terms, n), row m the coefficient of δᵐ in S(j + ½ - δ). With one row widths and locations are rounded to
   * whole samples, half to even, and gradients pass the rounding unchanged; with more they are not.
   */
  edges: Tensor2D;
  /** float32 (terms, n), likewise of h(j - δ) = 1 + n S'(j + ½ - δ) */
  slopes: Tensor2D;
}

export interface GaudiMaskOptions {
  /** the edges are those of an exact 0/1 window; needs tables of one row. Default false */
  boxcar?: boolean;
  /** windows of one sample or none are empty, entries below 1e-3 in size are 0. Default false */
  evaluate?: boolean;
}

/**
 * mask[k, j] = w + S(j + ½ - l n) - S(j + ½ - (l + w) n) of the edge function S that the tables hold.
 * @param widths float32 (K), as shares of n
 * @param locations float32 (K), as shares of n; the mask is cyclic in them
 * @returns float32 (K, n)
 * @throws ShapeError when an operand does not fit
 */
export function gaudiMask(
  widths: Tensor1D,
  locations: Tensor1D,
  { edges, slopes }: GaudiMaskTables,
  { boxcar = false, evaluate = false }: GaudiMaskOptions = {},
): Tensor2D {
  expectOperand("gaudiMask", { widths }, { dtype: "float32", shape: ["K"] });
  expectOperand("gaudiMask", { locations }, { dtype: "float32", shape: widths.shape });
  expectOperand("gaudiMask", { edges }, { dtype: "float32", shape: [boxcar ? 1 : "terms", "n"] });
  expectOperand("gaudiMask", { slopes }, { dtype: "float32", shape: edges.shape });
  return differentiable({
    name: "gaudiMask",
    inputs: { widths, locations },
    forward: (recording) => {
      const [mask] = runKernel(GAUDI_MASK, { widths, locations, edges }, { boxcar, evaluate }) as [Tensor];
      return { value: mask, saved: recording ? [widths, locations, slopes, ...(evaluate ? [mask] : [])] : [] };
    },
    backward: (dy, saved) => {
      const [widths, locations, slopes, mask] = saved as [Tensor, Tensor, Tensor, Tensor?];
      // One kernel for both: they read the same rows.
      const gradients = tidy(() => {
        // Entries that evaluation made 0 stay 0 under small changes.
        const outer = mask === undefined ? dy : mul(dy, cast(notEqual(mask, 0), "float32"));
        return runKernel(GAUDI_MASK_GRADIENT, { dy: outer, widths, locations, slopes });
      }) as [Tensor, Tensor];
      return { widths: () => gradients[0], locations: () => gradients[1] };
    },
  }) as Tensor2D;
}

/** Where windows begin or end, one number for each window, in samples. */
interface Edge {
  /** in 0 … n - 1 */
  whole: Tensor;
  /** the remainder, from -½ to ½; undefined when all are whole */
  fraction?: Tensor;
}

interface Windows {
  start: Edge;
  end: Edge;
  /** as shares of n */
  width: Tensor;
}

/** Entries of evaluation masks no larger than this are 0. */
export const LEAST_ENTRY = 1e-3;

export function composeGaudiMask(
  { widths, locations, edges }: Tensors<GaudiMaskInputs>,
  { boxcar, evaluate }: GaudiMaskAttributes,
): Tensor {
  const [terms, n] = edges.shape as [number, number];
  const { start, end, width } =
    terms === 1 ? roundedWindows({ widths, locations, n, evaluate }) : exactWindows(widths, locations, n);
  if (boxcar) {
    return boxcars(start, mul(width, n), n);
  }
  const mask = add(sub(shifted(edges, start), shifted(edges, end)), column(width));
  return evaluate ? mul(mask, indicator(greater(abs(mask), LEAST_ENTRY))) : mask;
}

export function composeGaudiMaskGradient({
  dy,
  widths,
  locations,
  slopes,
}: Tensors<GaudiMaskGradientInputs>): Tensor[] {
  const [terms, n] = slopes.shape as [number, number];
  const { start, end } = terms === 1 ? roundedWindows({ widths, locations, n }) : exactWindows(widths, locations, n);
  const toWidth = shifted(slopes, end);
  const toLocation = sub(toWidth, shifted(slopes, start));
  return [sum(mul(dy, toWidth), 1), sum(mul(dy, toLocation), 1)];
}

/** Windows whose ends are rounded to whole samples; with `evaluate`, windows of one sample or none are empty. */
export function roundedWindows(options: { widths: Tensor; locations: Tensor; n: number; evaluate?: boolean }): Windows {
  const { widths, locations, n, evaluate = false } = options;
  const asked = round(mul(widths, n));
  const samples = evaluate ? mul(asked, indicator(greater(abs(asked), 1))) : asked;
  const first = round(mul(locations, n));
  return {
    start: { whole: wrapped(first, n) },
    end: { whole: wrapped(add(first, samples), n) },
    width: div(samples, n),
  };
}

function exactWindows(widths: Tensor, locations: Tensor, n: number): Windows {
  const first = position(locations, n);
  const length = position(widths, n);
  const rest = add(first.fraction, length.fraction);
  const carry = round(rest);
  const last = add(add(first.whole, length.whole), carry);
  return {
    start: { whole: wrapped(first.whole, n), fraction: first.fraction },
    end: { whole: wrapped(last, n), fraction: sub(rest, carry) },
    width: widths,
  };
}

// share · n to more digits than a float32 product has: the first twelve bits of the share times n are exact.
function position(share: Tensor, n: number): Required<Edge> {
  const high = mul(round(mul(share, 4096)), 1 / 4096);
  const [coarse, fine] = [mul(high, n), mul(sub(share, high), n)];
  const whole = round(add(coarse, fine));
  return { whole, fraction: add(sub(coarse, whole), fine) };
}

// Modulo n with corrections: where division is not exact, as on GPUs, the quotient may be off by one.
function wrapped(x: Tensor, n: number): Tensor {
  const rest = sub(x, mul(floor(div(x, n)), n));
  const raised = add(rest, mul(indicator(less(rest, 0)), n));
  return sub(raised, mul(indicator(greaterEqual(raised, n)), n));
}

/** Row k holds the function of the series at all samples, shifted to the k-th edge. */
function shifted(series: Tensor, { whole, fraction }: Edge): Tensor {
  const [terms, n] = series.shape as [number, number];
  // The row is joined with itself, so that no index wraps around.
  const index = sub(range(n, 2 * n, 1, "int32"), cast(column(whole), "int32"));
  if (fraction === undefined) {
    const row = reshape(series, [n]);
    return gather(concat([row, row]), index);
  }
  const rows = matMul(powers(fraction, terms), series);
  const count = whole.shape[0] as number;
  const offsets = range(0, count * 2 * n, 2 * n, "int32");
  return gather(reshape(concat([rows, rows], 1), [-1]), add(index, column(offsets)));
}

/** (K) → (K, terms): x⁰, x¹, … */
function powers(x: Tensor, terms: number): Tensor {
  const columns = [onesLike(x)];
  while (columns.length < terms) {
    columns.push(mul(columns[columns.length - 1] as Tensor, x));
  }
  return stack(columns, 1);
}

/** Exactly 1 inside a window and 0 outside; a window longer than the circle adds up. */
function boxcars({ whole: start }: Edge, samples: Tensor, n: number): Tensor {
  const whole = round(samples);
  const length = wrapped(whole, n);
  const turns = round(div(sub(whole, length), n));
  const stop = add(start, length);
  const at = range(0, n, 1, "float32");
  const begun = indicator(greaterEqual(at, column(start)));
  const over = indicator(greaterEqual(at, column(stop)));
  const around = indicator(less(at, column(sub(stop, n))));
  return add(add(sub(begun, over), around), column(turns));
}

const column = (x: Tensor): Tensor => expandDims(x, 1);
const indicator = (condition: Tensor): Tensor => cast(condition, "float32");

registerPortable<GaudiMaskInputs, GaudiMaskAttributes>(GAUDI_MASK, composeGaudiMask);
registerPortable<GaudiMaskGradientInputs>(GAUDI_MASK_GRADIENT, composeGaudiMaskGradient);
