// Long curves made short enough to draw: what the eye would see of all points, from a few hundred of them. Also the
// running mean that is drawn over a noisy curve. Numbers only.

export interface Point {
  x: number;
  y: number;
}

/** More than twice as many as a chart has px across. */
export const MOST_POINTS = 700;

/**
 * The least and the greatest of each stretch of points, in their order, so that no spike is lost; the first and the last
 * point stay. Points that are fewer than `most` stay as they are.
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

/** At most so many points, evenly spaced, the first and the last among them: for curves without spikes. */
export function sampled<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))] as T);
}

/**
 * Exponential running mean whose weights fall to 1/e over `span` points. The first values are divided by the weights that
 * they have so far, as Adam does, so that the curve does not start at zero.
 */
export function smoothed<P extends Point>(points: readonly P[], span: number): P[] {
  const decay = Math.exp(-1 / Math.max(span, 1e-9));
  let [mean, weight] = [0, 0];
  return points.map((point) => {
    mean = decay * mean + (1 - decay) * point.y;
    weight = decay * weight + (1 - decay);
    return { ...point, y: mean / weight };
  });
}
