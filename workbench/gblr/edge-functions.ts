// The two functions of one variable from which every Gaudi mask of length n and smoothness σ is computed, in float64,
// as real sums over frequencies. A mask is the difference of the edge function at the two ends of its window (mask.ts).
//
// With g the periodic Gaussian, g[j] = (1 + Σ_f c_f G_f cos(2π f j/n)) / n, G_f = exp(-f²/2σ²), f = 1 … ⌊n/2⌋, and
// c_f = 2, but 1 where f = n/2, the edge S is its cyclic running sum less the mean, continued between samples:
//   S(x) = Σ_f c_f G_f sin(2π f x/n) / (2 n sin(π f/n)),      S(j + ½) - S(j - ½) = g[j] - 1/n
//   mask[j] = w + S(j + ½ - l n) - S(j + ½ - (l + w) n)
//   h(x) = 1 + n S'(x + ½),      ∂mask[j]/∂w = h(j - (l + w) n),      ∂mask[j]/∂l = h(j - (l + w) n) - h(j - l n)
// Widths and locations are rounded to whole samples, so only values at whole samples are needed.

/** The tables of the edge function S and the slope function h at the samples. */
export interface EdgeFunctions {
  /** (n), S(j + ½) */
  edge: Float64Array;
  /** (n), h(j) */
  slope: Float64Array;
}

/** The length and smoothness of masks. */
export interface EdgeOptions {
  /** samples, at least 1 */
  length: number;
  /** smoothness, in frequencies; Infinity for no Gaussian */
  sigma: number;
}

// Maximum number of cached pairs of tables. A σ that changes in every step adds tables that are never used again.
const MOST_KEPT = 32;
const kept = new Map<string, EdgeFunctions>();

/**
 * The edge and slope functions of all masks of this length and σ. Takes O(n²) operations the first time and is then
 * cached.
 */
export function edgeFunctions({ length, sigma }: EdgeOptions): EdgeFunctions {
  const key = `${length} ${sigma}`;
  const known = kept.get(key);
  if (known) return known;
  const computed = compute({ length, sigma });
  if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value as string);
  kept.set(key, computed);
  return computed;
}

/** S(j + ½) without a Gaussian, for j = 0 … n - 1. */
export const sawtooth = (n: number, j: number): number => ((n - 1) / 2 - j) / n;

function compute({ length: n, sigma }: EdgeOptions): EdgeFunctions {
  // Without a Gaussian S is a sawtooth at the samples. This is exact, whereas the sum would be rounded.
  const edge =
    sigma === Number.POSITIVE_INFINITY
      ? Float64Array.from({ length: n }, (_, j) => sawtooth(n, j))
      : sumOfWaves({ length: n, sigma }, Math.sin, () => 1);
  const derivative = sumOfWaves({ length: n, sigma }, Math.cos, (f) => (2 * Math.PI * f) / n);
  return { edge, slope: derivative.map((value) => 1 + n * value) };
}

/** Σ_f c_f G_f / (2 n sin(π f/n)) · scale(f) · wave(2π f (j + ½)/n) for all j. */
function sumOfWaves(
  { length: n, sigma }: EdgeOptions,
  wave: (angle: number) => number,
  scale: (f: number) => number,
): Float64Array {
  const weights = frequencyWeights({ length: n, sigma }).map((weight, index) => weight * scale(index + 1));
  // Angles are multiples of π/n.
  const waves = Float64Array.from({ length: 2 * n }, (_, i) => wave((Math.PI * i) / n));
  return Float64Array.from({ length: n }, (_, j) => {
    const stride = 2 * j + 1;
    let [sum, at] = [0, 0];
    for (const weight of weights) {
      at += stride;
      if (at >= 2 * n) at -= 2 * n;
      sum += weight * (waves[at] as number);
    }
    return sum;
  });
}

/** c_f G_f / (2 n sin(π f/n)) for f = 1, 2, …, as far as the Gaussian is not negligible. */
function frequencyWeights({ length: n, sigma }: EdgeOptions): Float64Array {
  const negligible = 9.5 * sigma; // exp(-9.5²/2) = 3e-20
  const count = Math.min(Math.floor(n / 2), Math.ceil(negligible));
  return Float64Array.from({ length: count }, (_, index) => {
    const f = index + 1;
    const gaussian = Math.exp(-0.5 * (f / sigma) ** 2);
    return gaussian * ((2 * f === n ? 1 : 2) / (2 * n * Math.sin((Math.PI * f) / n)));
  });
}
