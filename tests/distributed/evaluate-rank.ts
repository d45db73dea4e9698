// One process of tests/distributed/evaluation.test.ts: measures small models, alone or as a rank. See reply.ts.

import { imageLoader } from "../../workbench/data/images/index.ts";
import { type TokenFile, tokenWindows } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { accuracy } from "../../workbench/evaluate/accuracy.ts";
import { perplexity } from "../../workbench/evaluate/perplexity.ts";
import { formChoices } from "../../workbench/structures/inference/choice.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { openImagesNow } from "../data/images/image-sets.ts";
import { livelier, structured, TINY, tinyGpt2 } from "../models/tiny.ts";
import { join, reply } from "./reply.ts";

export interface EvaluateTask {
  what: "texts" | "text" | "images" | "forms";
  /** folder of images */
  dataset?: string;
  /** id of a token of the last window, for an id that the vocabulary does not have */
  token?: number;
  /** a rank whose signal is aborted at its first window */
  stopped?: number;
}

const clock = () => 0;

/** Tokens of a window, and windows of a batch. */
const ONE: [number, number[]][] = [[12, [1]]];
const SEVERAL: [number, number[]][] = [
  [11, [1, 2]],
  [12, [2, 3, 9]],
];

/** 61 ids in windows of 11 and 12, of which the last is shorter. */
function windowsOf(context: number, token = 0) {
  const ids = Int32Array.from({ length: 61 }, (_, i) => (i === 58 ? token : (7 * i * i) % TINY.vocab_size));
  const read = async (start: number, count: number) => ids.slice(start, start + count);
  const counts = { rows: 1, words: 0, bytes: 0 };
  const file: TokenFile = { path: "", length: 61, vocabSize: TINY.vocab_size, counts, read, close: async () => {} };
  return tokenWindows(file, { context });
}

async function answerTo({ what, dataset, token, stopped }: EvaluateTask): Promise<unknown[]> {
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(60);
  const stop = new AbortController();
  const sharing = { ranks, signal: stop.signal, clock };
  const results: unknown[] = [];
  const take = async (events: AsyncGenerator<{ kind: string }>) => {
    for await (const event of events) {
      if (stopped !== undefined && ranks?.rank === stopped) stop.abort();
      if (event.kind !== "progress") results.push(event);
    }
  };
  if (what === "images") {
    const images = await openImagesNow({ dataset: dataset as string, split: "train", cache: `${dataset}/cache` });
    const half = [0.5, 0.5, 0.5] as const;
    const preparation = { size: 16, transform: "evaluate" as const, mean: half, std: half, skipBad: true, workers: 0 };
    const loader = imageLoader(images, preparation);
    for (const batch of [2, 8, 100]) await take(accuracy(smallVit(VIT) as never, { loader, batch, ...sharing }));
    return results;
  }
  if (what === "forms") {
    // Large enough for its forms to be timed.
    const large = tinyGpt2({ n_layer: 1, n_embd: 512 });
    await take(perplexity(await structured(large, ["h.0.mlp.c_fc"], "gblr"), { windows: windowsOf(12), ...sharing }));
    return [formChoices.taken];
  }
  const model = livelier(tinyGpt2());
  for (const [context, batches] of what === "text" ? ONE : SEVERAL) {
    for (const batch of batches) {
      await take(perplexity(model, { windows: windowsOf(context, token), batch, ...sharing }));
    }
  }
  return results;
}

await reply(answerTo);
