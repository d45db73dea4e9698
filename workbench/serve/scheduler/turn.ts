// One turn: a forward pass over tokens of several sequences, one behind the other, and the logits of those that are asked
// for. Only attention sees which token belongs to which sequence, so that all other products are those of one batch.

import { reshape, type Tensor, type Tensor2D, tensor1d, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { embedding, linear } from "../../engine/ops/index.ts";
import { type CachedSequence, headOf, languageHidden, type PagedCache } from "../../models/index.ts";
import type { Model } from "../../models/model.ts";

/** Tokens of one sequence. */
export interface TurnPart {
  cached: CachedSequence;
  /** the next tokens that the cache does not have yet */
  ids: readonly number[];
  /** tokens of the sequence so far, those that follow in later turns included */
  length: number;
  /** number of tokens at the end of `ids` whose logits are wanted */
  wanted: number;
}

/**
 * Processes tokens and adds them to the cache.
 * @param parts those of one token first, which is faster
 * @returns for each part, the logits of the wanted tokens, float32 (vocabulary) each, to be read only
 */
export async function processTurn(
  model: Model,
  cache: PagedCache,
  parts: readonly TurnPart[],
): Promise<Float32Array[][]> {
  const rows = wantedRows(parts);
  const logits = tidy(() => {
    const ids = parts.flatMap((part) => part.ids);
    const pass = cache.pass(parts.map(({ cached, ids, length }) => ({ sequence: cached, tokens: ids.length, length })));
    const hidden = languageHidden(model, tensor2d(ids, [1, ids.length], "int32"), { cache: pass });
    if (rows.length === 0) return undefined;
    const all = reshape(hidden, [ids.length, -1]);
    const asked = rows.length === ids.length ? all : embedding(all, tensor1d(rows, "int32"));
    return linear(asked, headOf(model) as Tensor2D) as Tensor;
  });
  if (!logits) return parts.map(() => []);
  const vocabulary = logits.shape[1] as number;
  const values = (await logits.data()) as Float32Array;
  logits.dispose();
  let at = 0;
  return parts.map(({ wanted }) =>
    Array.from({ length: wanted }, () => values.subarray(at++ * vocabulary, at * vocabulary)),
  );
}

/** The rows of the wanted tokens in the pass. */
function wantedRows(parts: readonly TurnPart[]): number[] {
  const rows: number[] = [];
  let end = 0;
  for (const { ids, wanted } of parts) {
    end += ids.length;
    for (let row = end - wanted; row < end; row++) rows.push(row);
  }
  return rows;
}
