// Reduces long curves to a few hundred points without a visible difference, and smooths noisy curves.

/** A point of a curve. */
export interface Point {
  x: number;
  y: number;
}

/** Maximum number of points of a drawn curve. A chart is narrower than this in px. */
export const MOST_POINTS = 700;

/**
 * Reduces a curve to at most `most` points. Keeps the first and the last point and, of each of a number of equal
 * intervals, the lowest and the highest point, so that no spike is lost.
 */
export function thinned<P extends Point>(points: readonly P[], most = MOST_POINTS): P[] {
  if (points.length <= most) return [...points];
  const kept: P[] = [points[0] as P];
  const stretches = Math.floor((most - 2) / 2);
  const inner = points.length - 2;
  for (let s = 0; s < stretches; s++) {
    const from = 1 + Math.floor((s * inner) / stretches);
    const to = 1 + Math.floor(((s + 1) * inner) / stretches);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      const { y } = points[i] as P;
      if (y < (points[low] as P).y) low = i;
      if (y > (points[high] as P).y) high = i;
    }
    kept.push(points[Math.min(low, high)] as P);
    if (low !== high) kept.push(points[Math.max(low, high)] as P);
  }
  kept.push(points.at(-1) as P);
  return kept;
}

/** Picks at most `most` evenly spaced items, the first and the last included. For smooth curves. */
export function sampled<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))] as T);
}

/**
 * Centered running mean with exponential weights, which fall to 1/e over `span` points on either side. Near the ends
 * the mean is over the points that exist.
 */
export function smoothed<P extends Point>(points: readonly P[], span: number): P[] {
  const values = points.map(({ y }) => y);
  const before = decayingSums(values, span);
  const after = decayingSums(values.toReversed(), span).reverse();
  return points.map((point, i) => {
    const [left, right] = [before[i] as Sum, after[i] as Sum];
    // The point itself is in both sums, with weight 1.
    return { ...point, y: (left.sum + right.sum - point.y) / (left.weight + right.weight - 1) };
  });
}

interface Sum {
  sum: number;
  weight: number;
}

/** For each value, Σ e^(−distance / span) · value over it and all earlier ones, and the sum of the weights. */
function decayingSums(values: readonly number[], span: number): Sum[] {
  const decay = Math.exp(-1 / Math.max(span, 1e-9));
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    sum = decay * sum + value;
    weight = decay * weight + 1;
    return { sum, weight };
  });
}
