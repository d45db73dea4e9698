// gaudiMask computes windows on a circle of n samples, with gradients with respect to location and width. Each window
// is the difference of an edge function at the window's two ends (docs/method.md). The caller provides tables of the
// edge function. The torch backend runs one operator of the addon in each direction (native/gblr/gaudi-mask.cc), the
// wasm backend a loop (backends/wasm/gblr.ts); the compositions of tf.* operations at the end of this file serve the
// other backends.

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
  mul,
  notEqual,
  range,
  round,
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
  LEAST_ENTRY,
} from "./kernels.ts";

/** The edge functions of masks as tensors, for one length and sigma. */
export interface GaudiMaskTables {
  /** float32 (n), S(j + ½) */
  edges: Tensor1D;
  /** float32 (n), h(j) = 1 + n S'(j + ½) */
  slopes: Tensor1D;
}

/** Options of `gaudiMask`. */
export interface GaudiMaskOptions {
  /** whether the tables are those without a Gaussian; entries are then exactly 0 or 1. Default false */
  boxcar?: boolean;
  /** whether windows of at most one sample are empty and entries of at most 1e-3 in size are 0. Default false */
  evaluate?: boolean;
}

/**
 * The masks of K windows: mask[k, j] = w + S(j + ½ - l n) - S(j + ½ - (l + w) n) of the edge function S in the tables.
 * w n and l n are rounded to whole samples, half to even; gradients pass through the rounding unchanged.
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
  expectOperand("gaudiMask", { edges }, { dtype: "float32", shape: ["n"] });
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
      // One kernel computes both gradients, because they read the same rows.
      const gradients = tidy(() => {
        // Entries that evaluation set to 0 have no gradient.
        const outer = mask === undefined ? dy : mul(dy, cast(notEqual(mask, 0), "float32"));
        return runKernel(GAUDI_MASK_GRADIENT, { dy: outer, widths, locations, slopes });
      }) as [Tensor, Tensor];
      return { widths: () => gradients[0], locations: () => gradients[1] };
    },
  }) as Tensor2D;
}

interface Windows {
  /** first sample, in 0 … n - 1 */
  start: Tensor;
  /** first sample after the window, in 0 … n - 1 */
  end: Tensor;
  /** as shares of n */
  width: Tensor;
}

/** The kernel `GAUDI_MASK` as a composition of tf.* operations. */
export function composeGaudiMask(
  { widths, locations, edges }: Tensors<GaudiMaskInputs>,
  { boxcar, evaluate }: GaudiMaskAttributes,
): Tensor {
  const n = edges.shape[0] as number;
  const { start, end, width } = roundedWindows({ widths, locations, n, evaluate });
  if (boxcar) {
    return boxcars(start, mul(width, n), n);
  }
  const mask = add(sub(shifted(edges, start), shifted(edges, end)), column(width));
  return evaluate ? mul(mask, indicator(greater(abs(mask), LEAST_ENTRY))) : mask;
}

/** The kernel `GAUDI_MASK_GRADIENT` as a composition of tf.* operations. */
export function composeGaudiMaskGradient({
  dy,
  widths,
  locations,
  slopes,
}: Tensors<GaudiMaskGradientInputs>): Tensor[] {
  const n = slopes.shape[0] as number;
  const { start, end } = roundedWindows({ widths, locations, n });
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
    start: wrapped(first, n),
    end: wrapped(add(first, samples), n),
    width: div(samples, n),
  };
}

// x modulo n. The result is corrected because division is not exact on GPUs, so the quotient may be off by one.
function wrapped(x: Tensor, n: number): Tensor {
  const rest = sub(x, mul(floor(div(x, n)), n));
  const raised = add(rest, mul(indicator(less(rest, 0)), n));
  return sub(raised, mul(indicator(greaterEqual(raised, n)), n));
}

/** (K, n): row k is the table, shifted cyclically to the k-th edge. */
function shifted(table: Tensor, edge: Tensor): Tensor {
  const n = table.shape[0] as number;
  // The table is joined with itself so that no index wraps around.
  const index = sub(range(n, 2 * n, 1, "int32"), cast(column(edge), "int32"));
  return gather(concat([table, table]), index);
}

/** (K, n): exactly 1 inside a window and 0 outside. A window that is longer than the circle adds 1 for each turn. */
function boxcars(start: Tensor, samples: Tensor, n: number): Tensor {
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
