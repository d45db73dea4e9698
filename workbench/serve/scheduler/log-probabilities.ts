// Log-probabilities of tokens from the logits of a language model, summed in float64. They are those of the model itself,
// before temperature and filters.

/** A token and its log-probability ln p, nats. */
export interface Likely {
  id: number;
  logProbability: number;
}

/** A token of a text, and those that were likeliest in its place. */
export interface ScoredToken extends Likely {
  /** the likeliest tokens, most likely first */
  likeliest: readonly Likely[];
}

/**
 * The log-probability of a token, and the likeliest tokens. A token has the same number in both.
 * @param logits float32 (vocabulary)
 * @param count number of likeliest tokens
 */
export function scoredToken(logits: Float32Array, id: number, count: number): ScoredToken {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) > most) most = logits[i] as number;
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp((logits[i] as number) - most);
  const logTotal = most + Math.log(total);
  const likely = (token: number): Likely => ({ id: token, logProbability: (logits[token] as number) - logTotal });
  return { ...likely(id), likeliest: largest(logits, count).map(likely) };
}

/** The indices of the largest values, largest first; of equal values the first. */
function largest(values: Float32Array, count: number): number[] {
  const found: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length && count > 0; i++) {
    const value = values[i] as number;
    if (found.length === count && value <= least) continue;
    const at = found.findIndex((other) => value > (values[other] as number));
    found.splice(at < 0 ? found.length : at, 0, i);
    if (found.length > count) found.pop();
    least = values[found.at(-1) as number] as number;
  }
  return found;
}
