// Processors of sampling: temperature, and filters that leave the tokens among which one is drawn. Each leaves the tokens
// that the warper of the same name in transformers leaves, and renormalizes over the tokens that were left before.

import { entropyOf, type LogitsProcessor, maximum, positionOfMass, type Scores } from "./scores.ts";

/** Divides the scores. @param divisor above 0 */
export const temperature = (divisor: number): LogitsProcessor => ({
  process({ values }) {
    for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) / divisor;
  },
});

/** Leaves the `count` most likely tokens. Tokens with the score of the last one are left too. */
export const topK = (count: number): LogitsProcessor => ({ process: (scores) => keepMostLikely(scores, count) });

function keepMostLikely(scores: Scores, count: number): void {
  if (count >= scores.left.length) return;
  const limit = -positionOfMass(negated(scores.leftValues()), count).key;
  scores.keep((score) => score >= limit);
}

/** Leaves the smallest set of the most likely tokens whose probabilities add up to at least `share`. */
export const topP = (share: number): LogitsProcessor => ({
  process(scores) {
    const { scores: values, weights, total } = scores.distribution();
    const { key, before } = positionOfMass(negated(values), share * total, weights);
    const [limit, weight] = [-key, Math.exp(-key - maximum(values))];
    const equal = values.reduce((count, score) => count + (score === limit ? 1 : 0), 0);
    const wanted = Math.max(1, Math.ceil((share * total - before) / weight));
    // Of equal scores, those with higher ids are left: transformers removes from the start of an ascending, stable order.
    let surplus = Math.max(0, equal - wanted);
    scores.keep((score) => score > limit || (score === limit && surplus-- <= 0));
  },
});

/** Leaves tokens with at least this share of the largest probability. */
export const minP = (share: number): LogitsProcessor => ({
  process(scores) {
    const limit = maximum(scores.leftValues()) + Math.log(share);
    scores.keep((score) => score >= limit);
  },
});

/** Tokens that `topH` considers. */
const TOP_H_TOKENS = 100;

/** Leaves the most likely tokens, in their order, while their terms of the entropy add up to at most this share of it. */
export const topH = (share: number): LogitsProcessor => ({
  process(scores) {
    keepMostLikely(scores, TOP_H_TOKENS);
    const score = (id: number) => scores.values[id] as number;
    const order = Array.from(scores.left).sort((a, b) => score(b) - score(a) || a - b);
    scores.retain(order.slice(0, TOP_H_TOKENS));
    const distribution = scores.distribution();
    const limit = share * entropyOf(distribution);
    let [kept, sum] = [0, 0];
    for (; kept < scores.left.length; kept++) {
      const logarithm = score(order[kept] as number) - distribution.most - Math.log(distribution.total);
      sum -= Math.exp(logarithm) * logarithm;
      if (sum > limit) break;
    }
    scores.retain(order.slice(0, Math.max(1, kept)));
  },
});

/** Leaves the tokens whose information −ln p is nearest to the entropy, until their probabilities add up to `share`. */
export const typicalP = (share: number): LogitsProcessor => ({
  process(scores) {
    const distribution = scores.distribution();
    const { scores: values, most, weights, total } = distribution;
    const entropy = entropyOf(distribution);
    const distance = values.map((score) => Math.abs(most + Math.log(total) - score - entropy));
    const { key } = positionOfMass(distance, share * total, weights);
    scores.keep((_, index) => (distance[index] as number) <= key);
  },
});

/** Leaves tokens with at least this probability, and the most likely ones. */
export const epsilonCutoff = (epsilon: number): LogitsProcessor => ({
  process(scores) {
    const { most, total } = scores.distribution();
    const limit = most + Math.log(epsilon * total);
    scores.keep((score) => score >= Math.min(limit, most));
  },
});

/** Leaves tokens with at least the probability min(ε, √ε exp(−entropy)), and the most likely ones. */
export const etaCutoff = (epsilon: number): LogitsProcessor => ({
  process(scores) {
    const distribution = scores.distribution();
    const eta = Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropyOf(distribution)));
    const limit = distribution.most + Math.log(eta * distribution.total);
    scores.keep((score) => score >= Math.min(limit, distribution.most));
  },
});

/** Negative scores, as keys for which the most likely tokens come first. Zeros have no sign. */
const negated = (values: Float32Array): Float32Array => values.map((value) => 0 - value);
