// Speculative sampling: a draft proposes tokens, and each is kept or replaced such that the text has exactly the distribution
// of the model, whatever the draft (Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding",
// algorithm 1; Chen et al. 2023, "Accelerating Large Language Model Decoding with Speculative Sampling", theorem 1).

/** Proposed tokens, and the distributions of those who judge and who proposed them, float64 (vocabulary) each. */
export interface Proposal {
  /** tokens that the draft has drawn one after the other */
  drafted: readonly number[];
  /** q, the distribution from which each of them was drawn */
  draft: readonly Float64Array[];
  /** p, that of the model after the tokens before `drafted[i]`; asked for i up to the first token that is not kept */
  model: (i: number) => Float64Array;
  /** returns the next random number in [0, 1) */
  uniform: () => number;
}

/**
 * The tokens that follow: those of the draft up to the first that is not kept, and one more. A token x is kept with
 * probability min(1, p(x) / q(x)); the one after the kept ones is drawn from max(0, p - q), or from p after the last.
 */
export function judged({ drafted, draft, model, uniform }: Proposal): number[] {
  const kept: number[] = [];
  for (const [i, id] of drafted.entries()) {
    const [p, q] = [model(i), draft[i] as Float64Array];
    if (uniform() * (q[id] as number) >= (p[id] as number)) return [...kept, drawnFrom(excess(p, q), uniform)];
    kept.push(id);
  }
  return [...kept, drawnFrom(model(drafted.length), uniform)];
}

/** max(0, p - q), not normalized; p if rounding leaves nothing of it. */
function excess(p: Float64Array, q: Float64Array): Float64Array {
  const rest = p.map((value, id) => Math.max(0, value - (q[id] as number)));
  return rest.some((value) => value > 0) ? rest : p;
}

/** Draws an index. @param weights float64, which need not add up to 1. @returns −1 if none is above 0 */
export function drawnFrom(weights: Float64Array, uniform: () => number): number {
  let total = 0;
  for (let id = 0; id < weights.length; id++) total += weights[id] as number;
  let rest = uniform() * total;
  for (let id = 0; id < weights.length; id++) {
    rest -= weights[id] as number;
    if (rest < 0) return id;
  }
  // Rounding left a rest: the last one that can be drawn.
  return weights.findLastIndex((weight) => weight > 0);
}
