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
  matMul,
  mul,
  onesLike,
  range,
  reshape,
  round,
  stack,
  sub,
  sum,
  type Tensor,
} from "@tensorflow/tfjs-core";
import type { GaudiMaskAttributes, GaudiMaskGradientInputs, GaudiMaskInputs } from "./kernels.ts";

type Tensors<Inputs> = { [Name in keyof Inputs]: Tensor };

/** Where a window begins or ends, one number a window, in samples. */
interface Edge {
  /** in 0 … n - 1 */
  whole: Tensor;
  /** what is left, at most ½ either way; undefined: nothing */
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

/** Windows of whole samples. */
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

// share · n to more digits than a float32 has: twelve bits of the share times n are exact.
function position(share: Tensor, n: number): Required<Edge> {
  const high = mul(round(mul(share, 4096)), 1 / 4096);
  const [coarse, fine] = [mul(high, n), mul(sub(share, high), n)];
  const whole = round(add(coarse, fine));
  return { whole, fraction: add(sub(coarse, whole), fine) };
}

// Modulo n by hand: where division is not exact, as on GPUs, the quotient may be off by one.
function wrapped(x: Tensor, n: number): Tensor {
  const rest = sub(x, mul(floor(div(x, n)), n));
  const raised = add(rest, mul(indicator(less(rest, 0)), n));
  return sub(raised, mul(indicator(greaterEqual(raised, n)), n));
}

/** Row k: the series' function at all samples, moved to the k-th edge. */
function shifted(series: Tensor, { whole, fraction }: Edge): Tensor {
  const [terms, n] = series.shape as [number, number];
  // Twice over, so that no index wraps.
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
