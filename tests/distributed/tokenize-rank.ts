// One process of tests/distributed/tokens.test.ts: opens texts as a rank, one after the other. See reply.ts.

import process from "node:process";
import { openTextTokens } from "../../workbench/data/index.ts";
import { tokenizeDealt } from "../../workbench/data/tokens/dealt-batches.ts";
import { batched } from "../../workbench/data/tokens/tokenize.ts";
import type { TextTokensOptions } from "../../workbench/data/types.ts";
import type { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { join, reply } from "./reply.ts";

/** A text to open. */
export interface TextStep {
  /** of each rank */
  options: TextTokensOptions[];
  /** a rank that is killed, or whose signal stops it, at its first event of progress */
  killed?: number;
  stopped?: number;
}

export interface TokenizeTask {
  steps: TextStep[];
  /** rows to tokenize with a tokenizer that counts what this rank encodes */
  rows?: string[];
}

/** What became of a text; `last` is the number of ids in the last event of progress. */
export interface Opened {
  length: number;
  cached: boolean;
  last: number;
}

export interface TokenizeAnswer {
  steps: (Opened | { error: string })[];
  /** number of rows that this rank has encoded, and the lengths of all rows in order */
  counted?: { own: number; lengths: number[] };
}

async function answerTo({ steps, rows }: TokenizeTask): Promise<TokenizeAnswer> {
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(60);
  if (!ranks) throw new Error("the environment has no rank");
  const answer: TokenizeAnswer = { steps: [] };
  for (const step of steps) {
    answer.steps.push(
      await opened(step, ranks).catch(({ name, message }: Error) => ({ error: `${name}: ${message}` })),
    );
  }
  if (rows) answer.counted = await countedRows(rows, ranks);
  return answer;
}

async function opened({ options, killed, stopped }: TextStep, ranks: ProcessGroup): Promise<Opened> {
  const stop = new AbortController();
  const own = { ...(options[ranks.rank] as TextTokensOptions), ranks, signal: stop.signal };
  let last = 0;
  for await (const event of openTextTokens(own)) {
    if (event.kind === "tokenizing") {
      if (ranks.rank === killed) process.kill(process.pid, "SIGKILL");
      if (ranks.rank === stopped) stop.abort(new Error("stopped"));
      last = event.tokens;
    }
    if (event.kind !== "tokens") continue;
    const { length } = event.tokens;
    await event.tokens.close();
    return { length, cached: event.cached, last };
  }
  throw new Error("there were no tokens");
}

/** Tokenizes rows, three a batch, with an id for each character. */
async function countedRows(rows: string[], ranks: ProcessGroup): Promise<TokenizeAnswer["counted"]> {
  let own = 0;
  const encoder = {
    vocabSize: 256,
    encode: (text: string, ids: { push(id: number): void }) => {
      own++;
      for (const character of text) ids.push(character.charCodeAt(0));
    },
  } as never;
  async function* read() {
    yield { texts: rows, fraction: 1 };
  }
  const lengths: number[] = [];
  const units = rows.slice(0, 3).join("").length + 3;
  const dealt = tokenizeDealt(batched(read(), units), { ranks, encoder, tokenizer: "", workers: 0 });
  for await (const { ids, rows: count } of dealt) lengths.push(count, ids.length);
  return { own, lengths };
}

await reply(answerTo);
