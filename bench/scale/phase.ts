// One rank of bench/scale.ts: measures parts of a training step and whole steps, in turns, in the same process. A JSON
// request on stdin, a JSON answer on stdout. Weights and tokens are random, which does not change the cost of a step.

import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { dispose, zeros } from "@tensorflow/tfjs-core";
import type { TokenWindows } from "../../workbench/data/types.ts";
import { placeOf } from "../../workbench/distributed/place.ts";
import { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { gpt2, type Model } from "../../workbench/models/index.ts";
import { type FitEvent, fit, languageTask } from "../../workbench/train/index.ts";
import { Optimizer } from "../../workbench/train/optimizer.ts";
import { randomModel } from "../random-weights.ts";
import type { Transformer } from "./transformers.ts";

export interface ScaleRequest {
  /** of GPT-2's family; they take turns */
  models: readonly Transformer[];
  /** windows of a rank in a step, each of which is measured */
  windows: readonly number[];
  /** sizes of all-reduces, numbers of 4 bytes */
  sums: readonly number[];
  rounds: number;
  /** a scratch folder that all ranks see */
  folder: string;
}

/**
 * Seconds by what was measured, one for each round: `NAME local 4`, `NAME ranks 4`, `NAME shard 4` for steps of four
 * windows a rank, `NAME optimizer`, `sum 65536`.
 */
export type ScaleAnswer = Record<string, number[]>;

type Measured = [name: string, seconds: () => Promise<number>];

/** All-reduces of one size in a round. */
const SUMS = 5;

const OPTIMIZER = { learningRate: 1e-6, weightDecay: 0.1, clipNorm: 1 };

const request = JSON.parse(await text(process.stdin)) as ScaleRequest;
process.stdout.write(JSON.stringify(await measured(request)));

async function measured({ models, windows, sums, rounds, folder }: ScaleRequest): Promise<ScaleAnswer> {
  await openEngine({ engine: "torch", threads: 1 });
  const place = placeOf(process.env);
  if (!place) throw new Error("bench/scale/phase.ts runs as one of several ranks, which bench/scale.ts starts");
  const ranks = await ProcessGroup.join(place);
  const kinds: Measured[] = [
    ...models.flatMap((size) => partsOf(size, { windows, ranks, folder: join(folder, size.name) })),
    ...sums.map((count): Measured => [`sum ${count}`, () => sum(ranks, count)]),
  ];
  const seconds: ScaleAnswer = Object.fromEntries(kinds.map(([name]) => [name, []]));
  // The first round fetches memory from the system and is not kept.
  for (let round = 0; round <= rounds; round++) {
    for (const [name, measure] of kinds) {
      await ranks.barrier();
      const took = await measure();
      if (round > 0) seconds[name]?.push(took);
    }
  }
  await ranks.barrier();
  return seconds;
}

interface Where {
  windows: readonly number[];
  ranks: ProcessGroup;
  folder: string;
}

/** What is measured of one model. A step alone and the steps of several ranks stand side by side. */
function partsOf(size: Transformer, { windows, ranks, folder }: Where): Measured[] {
  const model = modelOf(size);
  const steps = windows.flatMap((count): Measured[] => {
    const own = { size, count };
    return [
      [`${size.name} local ${count}`, stepsOf(model, { ...own, folder: join(folder, `local-${count}-${ranks.rank}`) })],
      [`${size.name} ranks ${count}`, stepsOf(model, { ...own, folder: join(folder, `ranks-${count}`), ranks })],
      [
        `${size.name} shard ${count}`,
        stepsOf(model, { ...own, folder: join(folder, `shard-${count}`), ranks, shard: true }),
      ],
    ];
  });
  return [...steps, [`${size.name} optimizer`, updatesOf(model)]];
}

/** Updates of all parameters, with gradients of zeros. */
function updatesOf(model: Model): () => Promise<number> {
  const optimizer = new Optimizer(model, OPTIMIZER);
  const parameters = optimizer.learned.map(({ parameter }) => parameter);
  return async () => {
    const gradients = new Map(parameters.map((parameter) => [parameter, zeros(parameter.shape)]));
    const time = { step: 1, steps: 10, stepsPerEpoch: 10 };
    const seconds = await secondsOf(() => optimizer.step(gradients, time));
    dispose([...gradients.values()]);
    return seconds;
  };
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function sum(ranks: ProcessGroup, count: number): Promise<number> {
  const numbers = zeros([count]);
  const seconds = await secondsOf(async () => {
    for (let i = 0; i < SUMS; i++) await ranks.allReduce([numbers]);
  });
  numbers.dispose();
  return seconds / SUMS;
}

interface Run {
  size: Transformer;
  /** windows of a rank in a step */
  count: number;
  folder: string;
  ranks?: ProcessGroup;
  shard?: boolean;
}

/** A training whose next step is made and timed at each call. */
function stepsOf(model: Model, { size, count, folder, ranks, shard = false }: Run): () => Promise<number> {
  const far = { steps: 10 ** 6 };
  const run: AsyncGenerator<FitEvent> = fit({
    model,
    task: languageTask({ model, windows: randomWindows(size), dropout: false }),
    folder,
    batch: count * (ranks?.size ?? 1),
    microBatch: count,
    length: far,
    optimizer: { ...OPTIMIZER, shard },
    seed: 1,
    evaluation: { every: far, first: false, run: async () => ({}) },
    checkpoint: { every: far, seconds: 10 ** 9 },
    ranks,
  });
  const next = async () => {
    for (;;) {
      const { value, done } = await run.next();
      if (done) throw new Error(`${folder} ended before it was measured`);
      if (value.kind === "step") return;
    }
  };
  return () => secondsOf(next);
}

function modelOf({ blocks, width, vocabulary, context }: Transformer): Model {
  const json = { model_type: "gpt2", n_embd: width, n_layer: blocks, n_head: width / 64, n_positions: context };
  return randomModel(gpt2, { ...json, vocab_size: vocabulary, embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 });
}

function randomWindows({ context, vocabulary }: Transformer): TokenWindows {
  const read = async (i: number) =>
    Int32Array.from({ length: context + 1 }, (_, j) => ((i * 7919 + j * 104729) * 2654435761) % vocabulary);
  return { length: 64, context, read };
}
