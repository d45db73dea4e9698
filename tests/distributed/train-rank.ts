// One process of tests/distributed/training.test.ts: trains the small model, alone or as a rank. The task is JSON in the
// first argument; the answer is one line.

import process from "node:process";
import { placeOf } from "../../workbench/distributed/place.ts";
import { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { type FitOptions, fit } from "../../workbench/train/index.ts";
import { fullOptions } from "../train/runs.ts";
import { numbersOf, smallModel } from "../train/small.ts";
import { reply } from "./start.ts";

export interface TrainTask {
  folder: string;
  /** instead of those of `fullOptions` */
  changes: Partial<Pick<FitOptions, "microBatch" | "seed" | "resume" | "length">>;
  /** seconds that ranks wait for each other */
  timeout: number;
  /** a rank that is killed, or that gets SIGTERM, after a step; or one with another seed */
  rank?: number;
  killed?: number;
  stopped?: number;
  seed?: number;
}

export interface TrainAnswer {
  numbers: Record<string, number[]>;
  /** kinds of events, without steps */
  events: string[];
  losses: number[];
}

async function answerTo({ folder, changes, timeout, rank, killed, stopped, seed }: TrainTask): Promise<TrainAnswer> {
  await openEngine({ engine: "torch", threads: 1 });
  const place = placeOf(process.env);
  const ranks = place && (await ProcessGroup.join(place, { timeout }));
  const isMeant = ranks?.rank === rank;
  const stop = new AbortController();
  process.on("SIGTERM", () => stop.abort());
  // Ranks begin with other parameters, which those of the first one replace.
  const model = smallModel();
  if (ranks && ranks.rank > 0) for (const each of model.parameters.values()) each.assign(each.mul(2).cast(each.dtype));
  const own = { ...changes, ...(isMeant && seed !== undefined && { seed }), signal: stop.signal, ranks };
  const answer: TrainAnswer = { numbers: {}, events: [], losses: [] };
  for await (const event of fit(fullOptions(model, folder, own))) {
    if (event.kind !== "step") {
      answer.events.push(
        `${event.kind}${event.kind === "evaluation" || event.kind === "structure" ? "" : ` ${event.step}`}`,
      );
      continue;
    }
    answer.losses.push(event.loss);
    if (isMeant && event.step === killed) process.kill(process.pid, "SIGKILL");
    if (isMeant && event.step === stopped) process.kill(process.pid, "SIGTERM");
  }
  return { ...answer, numbers: await numbersOf(model) };
}

await reply(answerTo);
