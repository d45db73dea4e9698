// One process of the tests of training in this folder: trains the small model, alone or as a rank. See reply.ts.

import process from "node:process";
import { setTimeout } from "node:timers/promises";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../workbench/engine/index.ts";
import { type FitOptions, fit } from "../../workbench/train/index.ts";
import { fullOptions, loraOptions } from "../train/runs.ts";
import { numbersOf, smallModel } from "../train/small.ts";
import { join, reply } from "./reply.ts";

export interface TrainTask {
  folder: string;
  /** instead of those of `fullOptions` */
  changes: Partial<Pick<FitOptions, "microBatch" | "seed" | "resume" | "length" | "shrinkEvery" | "checkpoint">>;
  /** whether moments are divided over the ranks */
  shard?: boolean;
  /** whether adapters are trained */
  lora?: boolean;
  /** seconds that ranks wait for each other */
  timeout: number;
  /** a rank that is killed, or that gets SIGTERM, after a step; or one with another seed, folder or choice of `shard` */
  rank?: number;
  killed?: number;
  stopped?: number;
  seed?: number;
  elsewhere?: string;
  chosen?: boolean;
}

export interface TrainAnswer {
  numbers: Record<string, number[]>;
  /** kinds of events, without steps */
  events: string[];
  losses: number[];
  /** bytes of the tensors that the training holds after the last step, and frees at its end; absent where `shard` is */
  bytes?: number;
}

let stop = new AbortController();
process.on("SIGTERM", () => stop.abort());

async function answerTo(task: TrainTask): Promise<TrainAnswer> {
  const { folder, changes, timeout, shard, lora, rank, killed, stopped, seed, elsewhere, chosen } = task;
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(timeout);
  const isMeant = ranks?.rank === rank;
  stop = new AbortController();
  // Ranks begin with other parameters, which those of the first one replace. Adapters must be of the same ones.
  const model = smallModel();
  if (ranks && ranks.rank > 0 && !lora)
    for (const each of model.parameters.values()) each.assign(each.mul(2).cast(each.dtype));
  const own = { ...changes, ...(isMeant && seed !== undefined && { seed }), signal: stop.signal, ranks };
  const answer: TrainAnswer = { numbers: {}, events: [], losses: [] };
  const options = (lora ? loraOptions : fullOptions)(model, isMeant ? (elsewhere ?? folder) : folder, own);
  const optimizer = {
    ...options.optimizer,
    ...(shard !== undefined && { shard: isMeant ? (chosen ?? shard) : shard }),
  };
  for await (const event of fit({ ...options, optimizer })) {
    if (event.kind !== "step") {
      answer.events.push(
        `${event.kind}${event.kind === "evaluation" || event.kind === "structure" ? "" : ` ${event.step}`}`,
      );
      continue;
    }
    answer.losses.push(event.loss);
    if (shard !== undefined) answer.bytes = tf.memory().numBytes;
    if (isMeant && event.step === killed) process.kill(process.pid, "SIGKILL");
    if (isMeant && event.step === stopped) process.kill(process.pid, "SIGTERM");
    while (isMeant && event.step === stopped && !stop.signal.aborted) await setTimeout(1);
  }
  if (answer.bytes !== undefined) answer.bytes -= tf.memory().numBytes;
  return { ...answer, numbers: await numbersOf(model) };
}

await reply(answerTo);
