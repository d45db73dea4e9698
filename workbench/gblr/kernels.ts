// The functions of one variable that every Gaudi mask of length n and smoothness σ is made of, in float64, by real sums
// over frequencies. A mask is the difference of one such function at its two edges; no mask is computed here.
//
// With g the periodic Gaussian, g[j] = (1 + Σ_f c_f G_f cos(2π f j/n)) / n, G_f = exp(-f²/2σ²), f = 1 … ⌊n/2⌋, and
// c_f = 2, but 1 where f = n/2, the edge S is its cyclic running sum less the mean, continued between samples:
//   S(x) = Σ_f c_f G_f sin(2π f x/n) / (2 n sin(π f/n)),      S(j + ½) - S(j - ½) = g[j] - 1/n
//   mask[j] = w + S(j + ½ - l n) - S(j + ½ - (l + w) n)
//   h(x) = 1 + n S'(x + ½),      ∂mask[j]/∂w = h(j - (l + w) n),      ∂mask[j]/∂l = h(j - (l + w) n) - h(j - l n)

/** Rows are terms of a Taylor series: row m, (n) values, belongs to the m-th power. */
export type Series = readonly Float64Array[];

export interface EdgeFunctions {
  /** S(j + ½ - δ) = Σ_m δᵐ edges[m][j] */
  edges: Series;
  /** h(j - δ) = Σ_m δᵐ slopes[m][j] */
  slopes: Series;
}

export interface EdgeOptions {
  /** samples, at least 1 */
  length: number;
  /** of the Gaussian, in frequencies; Infinity: none */
  sigma: number;
  /** of each series: 1 is all that whole samples need, 14 is exact in float32 for |δ| ≤ ½ */
  terms: number;
}

/** Terms for positions between samples: the first one left out is below (π/2)¹⁴/14! = 6e-9. */
export const TERMS_BETWEEN_SAMPLES = 14;

// A σ that changes every step fills this with tables that nobody asks for again.
const MOST_KEPT = 32;
const kept = new Map<string, EdgeFunctions>();

/** The edge and slope of all masks of this length and σ; computed once. O(terms · n²) the first time. */
export function edgeFunctions({ length, sigma, terms }: EdgeOptions): EdgeFunctions {
  const key = `${length} ${sigma} ${terms}`;
  const known = kept.get(key);
  if (known) {
    return known;
  }
  const computed = compute({ length, sigma, terms });
  if (kept.size >= MOST_KEPT) {
    kept.delete(kept.keys().next().value as string);
  }
  kept.set(key, computed);
  return computed;
}

function compute({ length: n, sigma, terms }: EdgeOptions): EdgeFunctions {
  const series = Array.from({ length: terms + 1 }, (_, m) => derivative({ length: n, sigma, terms: m }));
  if (sigma === Number.POSITIVE_INFINITY) {
    // S is then a saw tooth at the samples: exact, where the sum would round.
    series[0] = Float64Array.from({ length: n }, (_, j) => ((n - 1) / 2 - j) / n);
  }
  // h(j - δ) = 1 - n d/dδ S(j + ½ - δ)
  const slopes = series.slice(1).map((row, m) => row.map((value) => (m === 0 ? 1 : 0) - n * (m + 1) * value));
  return { edges: series.slice(0, terms), slopes };
}

/** Row m = `terms` of the edges: (-1)ᵐ S⁽ᵐ⁾(j + ½) / m!. */
function derivative({ length: n, sigma, terms: m }: EdgeOptions): Float64Array {
  const weights = frequencyWeights({ length: n, sigma, terms: m });
  // The m-th derivative of sin at angle π i/n, for all i: angles are multiples of π/n.
  const wave = Float64Array.from({ length: 2 * n }, (_, i) => Math.sin((Math.PI * i) / n + (Math.PI * (m % 4)) / 2));
  return Float64Array.from({ length: n }, (_, j) => {
    const stride = 2 * j + 1;
    let [sum, at] = [0, 0];
    for (const weight of weights) {
      at += stride;
      if (at >= 2 * n) {
        at -= 2 * n;
      }
      sum += weight * (wave[at] as number);
    }
    return sum;
  });
}

// c_f G_f / (2 n sin(π f/n)) · (-2π f/n)ᵐ / m! for f = 1, 2, …, as far as the Gaussian lets any through.
function frequencyWeights({ length: n, sigma, terms: m }: EdgeOptions): Float64Array {
  const negligible = 9.5 * sigma; // exp(-9.5²/2) = 3e-20
  const count = Math.min(Math.floor(n / 2), Math.ceil(negligible));
  return Float64Array.from({ length: count }, (_, index) => {
    const f = index + 1;
    const gaussian = Math.exp(-0.5 * (f / sigma) ** 2);
    const share = (2 * f === n ? 1 : 2) / (2 * n * Math.sin((Math.PI * f) / n));
    let power = 1;
    for (let k = 1; k <= m; k++) {
      power *= (-2 * Math.PI * f) / n / k;
    }
    return gaussian * share * power;
  });
}
