// Prepares curves for drawing: the part that is visible, with few enough points, a running mean, and round numbers for
// axes.

import { number } from "../format.js";

/** @typedef {{ x: number, y: number }} Point */

/**
 * The points from one place on the x axis to another, and one more on either side, so that lines go on to the edge.
 * @param {readonly Point[]} points in the order of x
 * @param {readonly [from: number, to: number]} range
 */
export function visible(points, [from, to]) {
  const first = firstFrom(points, from);
  const after = firstFrom(points, Number.isFinite(to) ? to + Number.EPSILON * Math.abs(to) : to);
  return points.slice(Math.max(0, first - 1), after + 1);
}

/** Index of the first point that is not before x. @param {readonly Point[]} points @param {number} x */
function firstFrom(points, x) {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {Point} */ (points[middle]).x < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The point that is nearest on the x axis. @param {readonly Point[]} points @param {number} x @returns {Point | undefined} */
export function nearest(points, x) {
  const after = firstFrom(points, x);
  const [left, right] = [points[after - 1], points[after]];
  if (!left || !right) return left ?? right;
  return x - left.x < right.x - x ? left : right;
}

/**
 * At most about `most` points, of which none of the highest and lowest are lost.
 * @param {readonly Point[]} points @param {number} most
 */
export function thinned(points, most) {
  if (points.length <= most) return points;
  const stretches = Math.floor(most / 2);
  const kept = [];
  for (let s = 0; s < stretches; s++) {
    const from = Math.floor((s * points.length) / stretches);
    const to = Math.floor(((s + 1) * points.length) / stretches);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      const { y } = /** @type {Point} */ (points[i]);
      if (y < /** @type {Point} */ (points[low]).y) low = i;
      if (y > /** @type {Point} */ (points[high]).y) high = i;
    }
    kept.push(...new Set([from, Math.min(low, high), Math.max(low, high), to - 1]));
  }
  return [...new Set(kept)].map((i) => /** @type {Point} */ (points[i]));
}

/** Curves with fewer points are drawn without a running mean. */
const FEW = 30;
/** Span of the running mean, as a share of the points. */
const SMOOTHING = 0.02;

/**
 * The running mean of a noisy curve, as reports draw it: with weights that fall to 1/e over the span on either side.
 * @param {readonly Point[]} points
 * @returns {Point[] | undefined} undefined for a curve of few points
 */
export function smoothed(points) {
  if (points.length < FEW) return undefined;
  const decay = Math.exp(-1 / Math.max(2, Math.round(SMOOTHING * points.length)));
  const sums = new Float64Array(points.length);
  const weights = new Float64Array(points.length);
  const add = (/** @type {(i: number) => number} */ indexOf) => {
    let [sum, weight] = [0, 0];
    for (let i = 0; i < points.length; i++) {
      const at = indexOf(i);
      sum = decay * sum + /** @type {Point} */ (points[at]).y;
      weight = decay * weight + 1;
      sums[at] = (sums[at] ?? 0) + sum;
      weights[at] = (weights[at] ?? 0) + weight;
    }
  };
  add((i) => i);
  add((i) => points.length - 1 - i);
  // The point itself is in both sums, with weight 1.
  return points.map(({ x, y }, i) => ({ x, y: ((sums[i] ?? 0) - y) / ((weights[i] ?? 0) - 1) }));
}

/**
 * Round numbers in a range, about `count` of them.
 * @param {number} least @param {number} most @param {number} count
 */
export function ticks(least, most, count) {
  const rough = (most - least) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) return [least];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(least / step - 1e-9);
  const length = Math.max(0, Math.floor(most / step + 1e-9) - first + 1);
  return Array.from({ length }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Round numbers for a logarithmic axis. @param {number} least above 0 @param {number} most @param {number} count */
export function logTicks(least, most, count) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(least)); power <= most; power *= 10) {
    found.push(...[1, 2, 5].map((factor) => Number((factor * power).toPrecision(12))));
  }
  const within = found.filter((value) => value >= least && value <= most);
  return within.length >= 2 ? within : ticks(least, most, count);
}

/** Texts for ticks, with as many digits as they need to differ. @param {readonly number[]} values @param {boolean} isShare */
export function labelsOf(values, isShare) {
  for (let digits = 3; ; digits++) {
    const labels = values.map((value) => (isShare ? `${number(100 * value, digits)} %` : number(value, digits)));
    if (digits > 12 || new Set(labels).size === labels.length) return labels;
  }
}
