// Runs of the small model: collected events, and metrics.jsonl without what the clock decides.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { budgetShrink } from "../../workbench/gblr/shrink/index.ts";
import type { Model } from "../../workbench/models/model.ts";
import { type FitEvent, type FitOptions, fit } from "../../workbench/train/index.ts";
import { smallTask } from "./small.ts";

type Changes = Partial<FitOptions>;

/** Everything that a run can have: accumulation, an uneven last batch, schedules, a shrink rule that remembers. */
export function fullOptions(model: Model, folder: string, changes: Changes = {}): FitOptions {
  return {
    model,
    task: smallTask(model),
    folder,
    length: { steps: 24 },
    batch: 12,
    microBatch: 5,
    seed: 3,
    optimizer: {
      learningRate: 0.02,
      structureLearningRate: 0.01,
      weightDecay: 0.1,
      clipNorm: 0.5,
      schedule: { decay: "cosine", warmup: { epochs: 1 }, minimum: 1e-3 },
    },
    sigma: { initial: 2, final: 30, startEpoch: 1, endEpoch: 5, every: "batch" },
    shrink: budgetShrink({ target: 0.4, start: 0, end: 4 }),
    evaluation: {
      every: { steps: 5 },
      run: async () => {
        const bias = (await model.parameter("fc2.bias").data()) as Float32Array;
        return { train: { first: bias[0] as number, sum: bias.reduce((sum, value) => sum + value, 0) } };
      },
    },
    checkpoint: { every: { steps: 2 } },
    ...changes,
  };
}

/** The same with adapters, which shrink nothing. */
export function loraOptions(model: Model, folder: string, changes: Changes = {}): FitOptions {
  const { shrink: _, ...options } = fullOptions(model, folder);
  return { ...options, lora: { rank: 3, alpha: 6 }, ...changes };
}

export async function collect(options: FitOptions): Promise<FitEvent[]> {
  const events: FitEvent[] = [];
  for await (const event of fit(options)) events.push(event);
  return events;
}

export const kinds = (events: readonly FitEvent[]): string[] => events.map(({ kind }) => kind);

/** The lines of metrics.jsonl, which must be whole, without seconds and rates. */
export async function timelessMetrics(folder: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(folder, "metrics.jsonl"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const { seconds, rate, ...rest } = JSON.parse(line);
      return rest;
    });
}
