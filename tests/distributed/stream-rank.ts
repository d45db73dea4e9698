// One process of the tests of streams in this folder: trains a tiny model on a stream, alone or as a rank, and writes down
// what it reads. See reply.ts.

import { appendFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { openTokenStream } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { createModel, gpt2 } from "../../workbench/models/index.ts";
import { fit, languageTask, type Task } from "../../workbench/train/index.ts";
import { CONTEXT, filesAt } from "../data/stream/rows.ts";
import { numbersOf } from "../train/small.ts";
import { join, reply } from "./reply.ts";

export interface StreamTask {
  /** run folder */
  folder: string;
  data: string;
  tokenizer: string;
  /** file to which a line is added for each micro-batch, by all processes */
  seen: string;
  steps: number;
  lanes: number;
  /** windows of a micro-batch */
  each: number;
  seed?: number;
  /** a rank that is killed after a step */
  killed?: { rank: number; step: number };
}

/** A line of what was read. */
export interface Seen {
  rank: number;
  step: number;
  index: number;
  /** ids of the inputs of the windows */
  inputs: number[][];
}

export interface StreamAnswer {
  numbers: Record<string, number[]>;
  losses: number[];
}

/** The task, which writes down what it reads. */
function recorded(task: Task, { seen, rank }: { seen: string; rank: number }): Task {
  return {
    ...task,
    async read(items, { step, index, seed }) {
      const batch = await task.read(items, { step, index, seed });
      const windows = (await batch.windows?.array()) as number[][];
      const line: Seen = { rank, step, index, inputs: windows.map((window) => window.slice(0, CONTEXT)) };
      appendFileSync(seen, `${JSON.stringify(line)}\n`);
      return batch;
    },
  };
}

async function answerTo(given: StreamTask): Promise<StreamAnswer> {
  const { folder, data, tokenizer, seen, steps, lanes, each, seed = 3, killed } = given;
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(60);
  const names = readdirSync(path.join(data, "data")).sort();
  const files = filesAt(
    names.map((name) => path.join(data, "data", name)),
    { open: 0, bytes: 0 },
  );
  const shares = files.map((file) => ({ file }));
  const stream = await openTokenStream({
    files: shares,
    lanes,
    context: CONTEXT,
    seed,
    shuffled: 6,
    tokenizer,
    workers: 1,
  });
  try {
    const sizes = { n_layer: 1, n_embd: 8, n_head: 2, n_positions: CONTEXT, vocab_size: 280 };
    const model = createModel(gpt2, sizes, { seed: 1 });
    const task = languageTask({ model, windows: { stream, length: steps * lanes * each } });
    const losses: number[] = [];
    const training = fit({
      ...{ model, folder, ranks, seed, length: { steps }, batch: lanes * each, microBatch: each },
      task: recorded(task, { seen, rank: ranks?.rank ?? 0 }),
      optimizer: { learningRate: 1e-2 },
      checkpoint: { every: { steps: 4 } },
    });
    for await (const event of training) {
      if (event.kind !== "step") continue;
      losses.push(event.loss);
      if (ranks?.rank === killed?.rank && event.step === killed?.step) process.kill(process.pid, "SIGKILL");
    }
    const numbers = await numbersOf(model);
    model.dispose();
    return { numbers, losses };
  } finally {
    await stream.close();
  }
}

await reply(answerTo);
