// Gaudi masks and their gradient as compositions of tf.* operations, for the engines that have no kernel of their own.
// What each must return is said in kernels.ts; temporaries are left to the caller's tidy.

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
  range,
  reshape,
  round,
  sub,
  sum,
  type Tensor,
} from "@tensorflow/tfjs-core";
import {
  type GaudiMaskAttributes,
  type GaudiMaskGradientInputs,
  type GaudiMaskInputs,
  LEAST_ENTRY,
} from "./kernels.ts";

type Tensors<Inputs> = { [Name in keyof Inputs]: Tensor };

interface Windows {
  /** first sample, in 0 … n - 1 */
  start: Tensor;
  /** first sample behind it, in 0 … n - 1 */
  end: Tensor;
  /** as shares of n */
  width: Tensor;
}

export function composeGaudiMask(
  { widths, locations, edges }: Tensors<GaudiMaskInputs>,
  { boxcar, evaluate }: GaudiMaskAttributes,
): Tensor {
  const n = edges.shape[1] as number;
  const { start, end, width } = roundedWindows({ widths, locations, n, evaluate });
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
  const n = slopes.shape[1] as number;
  const { start, end } = roundedWindows({ widths, locations, n });
  const toWidth = shifted(slopes, end);
  const toLocation = sub(toWidth, shifted(slopes, start));
  return [sum(mul(dy, toWidth), 1), sum(mul(dy, toLocation), 1)];
}

/** Windows of whole samples. */
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

// Modulo n by hand: where division is not exact, as on GPUs, the quotient may be off by one.
function wrapped(x: Tensor, n: number): Tensor {
  const rest = sub(x, mul(floor(div(x, n)), n));
  const raised = add(rest, mul(indicator(less(rest, 0)), n));
  return sub(raised, mul(indicator(greaterEqual(raised, n)), n));
}

/** Row k: the table's values at all samples, moved to the k-th edge. */
function shifted(table: Tensor, edge: Tensor): Tensor {
  const n = table.shape[1] as number;
  // Twice over, so that no index wraps.
  const index = sub(range(n, 2 * n, 1, "int32"), cast(column(edge), "int32"));
  const row = reshape(table, [n]);
  return gather(concat([row, row]), index);
}

/** Exactly 1 inside a window and 0 outside; a window longer than the circle adds up. */
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
