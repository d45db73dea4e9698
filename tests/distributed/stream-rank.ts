// One process of the tests of streams in this folder: trains a tiny model on a stream, alone or as a rank, and writes down
// what it reads. See reply.ts.

import { appendFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import type { NamedTensorMap, Tensor } from "@tensorflow/tfjs-core";
import { imageStreamLoader, openImageShards } from "../../workbench/data/images/index.ts";
import { openTokenStream } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { createModel, gpt2, type Model } from "../../workbench/models/index.ts";
import { fit, imageTask, languageTask, type Task } from "../../workbench/train/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { EDGE, shardsAt } from "../data/stream/images.ts";
import { CONTEXT, filesAt } from "../data/stream/rows.ts";
import { numbersOf } from "../train/small.ts";
import { join, reply } from "./reply.ts";

export interface StreamTask {
  /** run folder */
  folder: string;
  data: string;
  /** folder of the tokenizer; undefined for images */
  tokenizer?: string;
  /** file to which a line is added for each micro-batch, by all processes */
  seen: string;
  steps: number;
  lanes: number;
  /** windows or images of a micro-batch */
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
  /** ids of the inputs of the windows; of images the label, and the sum of the pixels, which tells their transforms */
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
      const line: Seen = { rank, step, index, inputs: await inputsOf(batch) };
      appendFileSync(seen, `${JSON.stringify(line)}\n`);
      return batch;
    },
  };
}

async function inputsOf({ windows, pixels, labels }: NamedTensorMap): Promise<number[][]> {
  if (windows) return ((await windows.array()) as number[][]).map((window) => window.slice(0, CONTEXT));
  const sums = (pixels as Tensor).sum([1, 2, 3]);
  const [all, found] = [await sums.data(), await (labels as Tensor).data()];
  sums.dispose();
  return Array.from(found, (label, i) => [label, all[i] as number]);
}

interface Streamed {
  model: Model;
  task: Task;
  close(): Promise<void>;
}

async function textsOf({ data, tokenizer = "", steps, lanes, each, seed = 3 }: StreamTask): Promise<Streamed> {
  const names = readdirSync(path.join(data, "data")).sort();
  const files = filesAt(
    names.map((name) => path.join(data, "data", name)),
    { open: 0, bytes: 0 },
  ).map((file) => ({ file }));
  const stream = await openTokenStream({ files, lanes, context: CONTEXT, seed, shuffled: 6, tokenizer, workers: 1 });
  const sizes = { n_layer: 1, n_embd: 8, n_head: 2, n_positions: CONTEXT, vocab_size: 280 };
  const model = createModel(gpt2, sizes, { seed: 1 });
  const task = languageTask({ model, windows: { stream, length: steps * lanes * each } });
  return { model, task, close: () => stream.close() };
}

async function imagesOf({ data, lanes, seed = 3 }: StreamTask): Promise<Streamed> {
  const head = 160;
  const shards = await openImageShards(shardsAt(data, { open: 0, bytes: 0 }, { head }));
  const stream = await shards.stream({ lanes, seed, shuffled: 6 });
  const colors = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
  const loader = imageStreamLoader(stream, {
    ...{ size: EDGE, ...colors, workers: 1 },
    transform: { kind: "train", crop: { kind: "padded", padding: 2 }, flip: 0.5 },
  });
  const model = smallVit({ ...VIT, num_classes: head });
  const close = async () => {
    await stream.close();
    await loader.close();
  };
  return { model, task: imageTask({ model, loader }), close };
}

async function answerTo(given: StreamTask): Promise<StreamAnswer> {
  const { folder, tokenizer, seen, steps, lanes, each, seed = 3, killed } = given;
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(60);
  const { model, task, close } = await (tokenizer === undefined ? imagesOf : textsOf)(given);
  try {
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
    await close();
  }
}

await reply(answerTo);
