// Minimizes a smooth function of one vector by L-BFGS with a line search that fulfills the strong Wolfe conditions
// (Nocedal and Wright 2006, algorithms 7.4, 3.5 and 3.6). Vectors stay on the engine; only values and slopes are read.

import {
  add,
  clone,
  div,
  dot,
  mul,
  neg,
  type Scalar,
  stack,
  sub,
  type Tensor,
  type Tensor1D,
  tidy,
} from "@tensorflow/tfjs-core";

/** The value of the function and its gradient at a point, as new tensors. */
export interface Evaluation {
  value: Scalar;
  gradient: Tensor1D;
}

/** Options of `minimize`. */
export interface MinimizeOptions {
  /** most evaluations of the function */
  evaluations: number;
  /** pairs of steps and gradient differences from which the curvature is estimated. Default 8 */
  memory?: number;
}

/** Progress after an iteration. */
export interface Iteration {
  value: number;
  /** evaluations so far */
  evaluations: number;
}

/** The result of a minimization. */
export interface Minimum extends Iteration {
  /** the best point, which belongs to the caller */
  point: Tensor1D;
}

/** A point on the line of a search, at `step` along the direction. */
interface Place {
  step: number;
  value: number;
  /** derivative along the direction */
  slope: number;
}

/** A place with its tensors. */
interface Held extends Place {
  point: Tensor1D;
  gradient: Tensor1D;
}

/** A step and the difference of the gradients at its ends, with 1 / (step · difference). */
interface Pair {
  step: Tensor1D;
  difference: Tensor1D;
  inverse: Scalar;
}

const LEAST_DECREASE = 1e-4;
const MOST_SLOPE = 0.9;
const MOST_TRIALS = 20;
/** Share of the value that the first step aims to remove, before anything is known about the curvature. */
const FIRST_DECREASE = 0.1;

/**
 * Yields after each iteration. The value never increases. Ends when the evaluations are used up or no step decreases
 * the value any more, which happens when rounding hides the rest.
 * @param start float32 (n); not changed
 * @param evaluate computes value and gradient, float32; the value is at least 0
 */
export async function* minimize(
  start: Tensor1D,
  evaluate: (point: Tensor1D) => Evaluation | Promise<Evaluation>,
  { evaluations, memory = 8 }: MinimizeOptions,
): AsyncGenerator<Iteration, Minimum> {
  const pairs: Pair[] = [];
  let used = 0;
  const at = async (step: number, origin: Tensor1D, direction: Tensor1D): Promise<Held> => {
    used++;
    const point = tidy(() => add<Tensor1D>(origin, mul(direction, step)));
    const { value, gradient } = await evaluate(point);
    const both = tidy(() => stack([value, dot(gradient, direction) as Scalar]));
    const [found = Number.NaN, slope = Number.NaN] = await both.data();
    release(value, both);
    return { step, value: found, slope, point, gradient };
  };
  const nowhere = tidy(() => mul<Tensor1D>(start, 0));
  let current = await at(0, start, nowhere);
  nowhere.dispose();
  try {
    while (used < evaluations) {
      const direction = tidy(() => downhill(current.gradient, pairs));
      const down = tidy(() => dot(current.gradient, direction));
      const [slope = 0] = await down.data();
      down.dispose();
      const first = pairs.length > 0 ? 1 : (FIRST_DECREASE * current.value) / -slope;
      const origin = { ...current, step: 0, slope };
      const next =
        slope < 0 && Number.isFinite(first)
          ? await search(origin, { first, most: evaluations - used, at: (step) => at(step, origin.point, direction) })
          : undefined;
      direction.dispose();
      if (!next) {
        // A bad estimate of the curvature is forgotten once; a failure of the plain gradient is the end.
        if (pairs.length === 0) break;
        for (const pair of pairs.splice(0)) releasePair(pair);
        continue;
      }
      await remember(pairs, { before: current, after: next, memory });
      release(current.point, current.gradient);
      current = next;
      yield { value: current.value, evaluations: used };
    }
    const { point, value } = current;
    return { point: clone(point), value, evaluations: used };
  } finally {
    release(current.point, current.gradient);
    for (const pair of pairs) releasePair(pair);
  }
}

const release = (...tensors: Tensor[]) => {
  for (const tensor of tensors) tensor.dispose();
};

const releasePair = ({ step, difference, inverse }: Pair) => release(step, difference, inverse);

/** The quasi-Newton direction: minus the gradient times the inverse of the estimated Hessian. */
function downhill(gradient: Tensor1D, pairs: readonly Pair[]): Tensor1D {
  let rest = neg(gradient);
  const shares: Scalar[] = [];
  for (const { step, difference, inverse } of pairs.toReversed()) {
    const share = mul<Scalar>(inverse, dot(step, rest));
    shares.push(share);
    rest = sub(rest, mul(difference, share));
  }
  const last = pairs.at(-1);
  if (last) rest = mul(rest, div(1, mul(last.inverse, dot(last.difference, last.difference))));
  for (const { step, difference, inverse } of pairs) {
    const share = shares.pop() as Scalar;
    rest = add(rest, mul(step, sub(share, mul(inverse, dot(difference, rest)))));
  }
  return rest;
}

/** Adds a pair, unless rounding has hidden its curvature, and forgets the oldest beyond `memory`. */
async function remember(
  pairs: Pair[],
  { before, after, memory }: { before: Held; after: Held; memory: number },
): Promise<void> {
  const step = sub<Tensor1D>(after.point, before.point);
  const difference = sub<Tensor1D>(after.gradient, before.gradient);
  const curvature = dot(step, difference) as Scalar;
  const [value = 0] = await curvature.data();
  const inverse = tidy(() => div<Scalar>(1, curvature));
  curvature.dispose();
  if (value > 0 && Number.isFinite(1 / value)) pairs.push({ step, difference, inverse });
  else release(step, difference, inverse);
  if (pairs.length > memory) releasePair(pairs.shift() as Pair);
}

interface LineSearch {
  /** first step to try */
  first: number;
  /** most evaluations */
  most: number;
  at: (step: number) => Promise<Held>;
}

/**
 * A place that fulfills the strong Wolfe conditions, or the lowest one found that decreases the value.
 * @returns undefined if none decreases the value. All tensors but those of the result and the origin are disposed of
 */
async function search(origin: Held, { first, most, at }: LineSearch): Promise<Held | undefined> {
  let low: Held = origin;
  let high: Place | undefined;
  const leave = (place: Held) => place !== origin && release(place.point, place.gradient);
  let step = first;
  for (let trial = 0; trial < Math.min(most, MOST_TRIALS); trial++) {
    const found = await at(step);
    const enough = origin.value + LEAST_DECREASE * step * origin.slope;
    if (!(found.value <= enough && found.value < low.value)) {
      leave(found);
      high = found;
    } else {
      const isFlat = Math.abs(found.slope) <= -MOST_SLOPE * origin.slope;
      const away = high ? high.step - low.step : 1;
      leave(low);
      if (isFlat) return found;
      if (found.slope * away >= 0) high = low;
      low = found;
    }
    step = high ? between(low, high) : 4 * step;
  }
  return low === origin ? undefined : low;
}

/** The minimum of the cubic through two places, but not too near to either. */
function between(low: Place, high: Place): number {
  const width = high.step - low.step;
  const d1 = low.slope + high.slope - (3 * (high.value - low.value)) / width;
  const d2 = Math.sign(width) * Math.sqrt(d1 ** 2 - low.slope * high.slope);
  const share = 1 - (high.slope + d2 - d1) / (high.slope - low.slope + 2 * d2);
  return low.step + width * (Number.isFinite(share) ? Math.min(0.9, Math.max(0.1, share)) : 0.5);
}
