// Chooses the next token from logits: temperature, then top-k, then top-p of what is left, as Hugging Face's samplers
// apply them. Plain numbers, on the host.

import { expectSetting } from "../../engine/ops/operands.ts";

export interface SampleOptions {
  /** what logits are divided by; 0: always the most likely token. Default 1 */
  temperature?: number;
  /** only among this many of the most likely tokens. Default all */
  topK?: number | undefined;
  /** only among the most likely tokens whose chances add up to this share, above 0. Default 1: all (Holtzman et al. 2020) */
  topP?: number;
}

/** @throws ShapeError naming the setting that makes no sense */
export function expectSampling({ temperature = 1, topK, topP = 1 }: SampleOptions): void {
  expectSetting("generate", { temperature }, "a number from 0", temperature >= 0 && Number.isFinite(temperature));
  expectSetting(
    "generate",
    { topK },
    "a whole number from 1",
    topK === undefined || (Number.isInteger(topK) && topK > 0),
  );
  expectSetting("generate", { topP }, "above 0 and at most 1", topP > 0 && topP <= 1);
}

/**
 * @param uniform the next number in [0, 1)
 * @returns a position in `logits`; of equal ones at a border the first are taken
 */
export function sampleToken(
  logits: Float32Array,
  { temperature = 1, topK, topP = 1 }: SampleOptions,
  uniform: () => number,
): number {
  const best = argmax(logits);
  if (temperature === 0 || topK === 1) return best;
  const most = logits[best] as number;
  const weight = (id: number) => Math.exp(((logits[id] as number) - most) / temperature);
  let ids = Array.from(logits.keys());
  if (topK !== undefined && topK < ids.length) ids = mostLikely(logits, topK);
  if (topP < 1) ids = nucleus(ids, { weight, topP });
  const total = ids.reduce((sum, id) => sum + weight(id), 0);
  let left = uniform() * total;
  for (const id of ids) {
    left -= weight(id);
    if (left < 0) return id;
  }
  return best;
}

export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

function mostLikely(logits: Float32Array, count: number): number[] {
  const border = logits.slice().sort()[logits.length - count] as number;
  const above: number[] = [];
  const equal: number[] = [];
  for (const [id, value] of logits.entries()) {
    if (value > border) above.push(id);
    else if (value === border) equal.push(id);
  }
  return [...above, ...equal.slice(0, count - above.length)].sort((a, b) => a - b);
}

/** The fewest tokens that hold the share. Only the likely ones are sorted: a vocabulary takes longer than the model. */
function nucleus(ids: number[], { weight, topP }: { weight: (id: number) => number; topP: number }): number[] {
  const weighed = ids.map((id) => ({ id, weight: weight(id) }));
  const wanted = topP * weighed.reduce((sum, each) => sum + each.weight, 0);
  for (let least = 1e-2; ; least /= 100) {
    const likely = weighed.filter((each) => each.weight >= least).sort((a, b) => b.weight - a.weight || a.id - b.id);
    let sum = 0;
    const last = likely.findIndex((each) => {
      sum += each.weight;
      return sum >= wanted;
    });
    if (last >= 0) return likely.slice(0, last + 1).map(({ id }) => id);
    if (likely.length === weighed.length || least === 0) return ids;
  }
}
