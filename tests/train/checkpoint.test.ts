// Checkpoints that were tampered with, cut short, or made by another run: what is whole is used, what is not is passed
// over or refused, each in one line.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { meanShrink } from "../../workbench/gblr/shrink/index.ts";
import type { FitOptions, Started } from "../../workbench/train/index.ts";
import { collect, fullOptions, timelessMetrics } from "./runs.ts";
import { numbersOf, smallModel } from "./small.ts";

let root: string;
/** a run that was stopped after step 9, with checkpoints of steps 8 and 9 */
let stopped: string;
/** the same run left alone */
let alone: { numbers: Record<string, number[]>; metrics: Record<string, unknown>[] };
/** a copy of `stopped` for each test */
let folder: string;
let runs = 0;

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  tf.engine().startScope();
  root = await mkdtemp(join(tmpdir(), "checkpoint-"));
  stopped = join(root, "stopped");
  const stop = new AbortController();
  const { fit } = await import("../../workbench/train/index.ts");
  for await (const event of fit(fullOptions(smallModel(), stopped, { signal: stop.signal }))) {
    if (event.kind === "step" && event.step === 9) stop.abort();
  }
  const model = smallModel();
  await collect(fullOptions(model, join(root, "alone")));
  alone = { numbers: await numbersOf(model), metrics: await timelessMetrics(join(root, "alone")) };
});
afterAll(async () => {
  tf.engine().endScope();
  await rm(root, { recursive: true });
});

/** A test with the stopped run to itself. */
function testStopped(what: string, body: () => Promise<void>): void {
  test(what, async () => {
    folder = join(root, `run-${runs++}`);
    await cp(stopped, folder, { recursive: true });
    await body();
  });
}

const file = (step: number, kind: "json" | "safetensors") =>
  join(folder, "checkpoint", `step-${String(step).padStart(10, "0")}.${kind}`);

/** Runs to the end; where it began. */
async function resume(changes: Partial<FitOptions> = {}) {
  const model = smallModel();
  const [started] = await collect(fullOptions(model, folder, changes));
  return { started: started as Started, model };
}

async function expectAsLeftAlone(model: ReturnType<typeof smallModel>) {
  expect(await numbersOf(model)).toEqual(alone.numbers);
  expect(await timelessMetrics(folder)).toEqual(alone.metrics);
}

async function flipByte(path: string, at: number) {
  const bytes = await readFile(path);
  bytes[at] = (bytes[at] as number) ^ 1;
  await writeFile(path, bytes);
}

describe("a run whose newest checkpoint", () => {
  const damages: [string, () => Promise<void>, RegExp][] = [
    ["is whole goes on from it", async () => {}, /^$/],
    [
      "lost the end of its tensors goes on from the one before",
      () => truncate(file(9, "safetensors"), 3000),
      /step-0000000009\.json: its tensors have 3000 bytes, expected \d+$/,
    ],
    [
      "has one bit of a tensor changed goes on from the one before",
      () => flipByte(file(9, "safetensors"), 5000),
      /step-0000000009\.json: its tensors differ from those that were saved$/,
    ],
    [
      "has no tensors goes on from the one before",
      () => rm(file(9, "safetensors")),
      /step-0000000009\.json: (no such file|ENOENT)/,
    ],
    [
      "has half a state goes on from the one before",
      () => truncate(file(9, "json"), 100),
      /step-0000000009\.json: is not JSON$/,
    ],
    [
      "is some other JSON goes on from the one before",
      () => writeFile(file(9, "json"), '{"format":"x"}'),
      /step-0000000009\.json: is not a checkpoint: /,
    ],
  ];
  for (const [what, damage, reason] of damages) {
    testStopped(what, async () => {
      await damage();
      const { started, model } = await resume();
      const whole = reason.source === "^$";
      expect(started).toMatchObject({ kind: "resumed", step: whole ? 9 : 8 });
      expect(started.passedOver.join()).toMatch(reason);
      await expectAsLeftAlone(model);
    });
  }
});

testStopped("a run with checkpoints none of which is whole stops instead of starting anew", async () => {
  await truncate(file(8, "safetensors"), 100);
  await truncate(file(9, "json"), 0);
  await expect(resume()).rejects.toThrow(/^no checkpoint in \S+ is complete \(.+\); remove them to start a new run$/);
  expect((await resume({ resume: "never" })).started).toMatchObject({ kind: "started", step: 0 });
});

testStopped("a run whose newest checkpoint is there but cannot be read stops, so that it is not removed", async () => {
  await rm(file(9, "json"));
  await mkdir(file(9, "json"));
  await expect(resume()).rejects.toThrow(/step-0000000009\.json: cannot be read now: .+; try again$/);
});

testStopped("a run that is told to start anew drops checkpoints and metrics of the one before", async () => {
  const { started, model } = await resume({ resume: "never" });
  expect(started).toMatchObject({ kind: "started", step: 0 });
  await expectAsLeftAlone(model);
});

describe("resuming refuses, naming the difference,", () => {
  const changes: [string, Partial<FitOptions>, string][] = [
    ["another seed", { seed: 4 }, "seed is 3, requested 4"],
    ["another length", { length: { steps: 25 } }, "steps is 24, requested 25"],
    ["another batch", { batch: 13 }, "batch is 12, requested 13"],
    [
      "another shrink rule",
      { shrink: meanShrink({ target: 0.2 }) },
      'shrink is "budget-shrink", requested "mean-shrink"',
    ],
    ["a setting of the caller's", { settings: { base: "b" } }, 'base is absent, requested "b"'],
    ["another rate", { optimizer: { learningRate: 0.5 } }, "learning rate is 0.02, requested 0.5"],
  ];
  for (const [what, change, difference] of changes) {
    testStopped(what, async () => {
      const before = await readdir(join(folder, "checkpoint"));
      await expect(resume(change)).rejects.toThrow(
        `was saved with other settings: ${difference}; use those, or start a new run`,
      );
      expect(await readdir(join(folder, "checkpoint"))).toEqual(before);
    });
  }

  testStopped("another model", async () => {
    const options = fullOptions(smallModel({ structured: false }), folder);
    await expect(collect(options)).rejects.toThrow(
      /was saved with other settings: model parameters is "9 of \w+", requested "6/,
    );
  });
});

testStopped("how often it is saved is no setting of a run: it may change on resuming", async () => {
  const { started, model } = await resume({ checkpoint: { every: { steps: 7 }, keep: 1 } });
  expect(started.step).toBe(9);
  await expectAsLeftAlone(model);
  expect((await readdir(join(folder, "checkpoint"))).sort()).toEqual([
    "step-0000000024.json",
    "step-0000000024.safetensors",
  ]);
});

testStopped("a run that was killed when its last checkpoint was whole removes the older ones on resuming", async () => {
  await resume();
  const left = (await readdir(join(folder, "checkpoint"))).sort();
  await cp(join(stopped, "checkpoint"), join(folder, "checkpoint"), { recursive: true });
  await writeFile(join(folder, "checkpoint", ".step-0000000022.safetensors.0a1b2c.tmp"), "half");
  const { started, model } = await resume();
  expect(started).toMatchObject({ kind: "resumed", step: 24, passedOver: [] });
  await expectAsLeftAlone(model);
  expect((await readdir(join(folder, "checkpoint"))).sort()).toEqual(left);
});

testStopped("metrics that are shorter than at the checkpoint are refused, longer ones cut back", async () => {
  await writeFile(join(folder, "metrics.jsonl"), `${await readFile(join(folder, "metrics.jsonl"))}{"kind":"st`);
  await expectAsLeftAlone((await resume()).model);
  await cp(stopped, folder, { recursive: true });
  await truncate(join(folder, "metrics.jsonl"), 10);
  await expect(resume()).rejects.toThrow(
    /metrics\.jsonl: has 10 bytes, but had \d+ when the checkpoint was saved; restore the/,
  );
});

testStopped("a folder that cannot be written is named in one line", async () => {
  await writeFile(join(root, "file"), "");
  const options = fullOptions(smallModel(), join(root, "file", "run"));
  await expect(collect(options)).rejects.toThrow(/run\/metrics\.jsonl: cannot be written: [^\n]+$/);
});
