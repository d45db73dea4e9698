// Training checkpoints of every version that has been are read for ever; of a version that is not known none is used, nor
// an older one in its place.

import { afterAll, expect, test } from "bun:test";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { findCheckpoint } from "../../workbench/train/checkpoint.ts";

const FIXTURE = join(import.meta.dir, "../fixtures/formats/v1/checkpoint");
const STATE = "step-0000000007.json";
const root = await mkdtemp(join(tmpdir(), "checkpoint-versions-"));
afterAll(() => rm(root, { recursive: true }));

test("a checkpoint of version 1 is read whole", async () => {
  await openEngine({ engine: "cpu" });
  const { checkpoint, passedOver } = await findCheckpoint(FIXTURE);
  expect(passedOver).toEqual([]);
  expect(checkpoint?.run).toEqual({
    ...{ step: 7, epoch: 1, batch: 2, seed: 3, evaluatedAt: -1, seconds: 4.5, metricsBytes: 0 },
    ...{ sigma: "Infinity", shrink: { threshold: 0.25, done: false }, frozen: true },
    ...{ settings: { steps: 9, rule: "mean", clip: null }, settingsHash: "abc" },
  });
  const variables = new Map([
    ["parameter/h.0.weight", tf.variable(tf.zeros([2, 2]))],
    ["first/h.0.weight", tf.variable(tf.zeros([2, 2]))],
    ["parameter/h.0.spans", tf.variable(tf.zeros([3], "int32"), false)],
  ]);
  await checkpoint?.restore(variables);
  const values = await Promise.all([...variables.values()].map(async (variable) => [...(await variable.data())]));
  expect(values).toEqual([
    [1, -2.5, 0.125, Math.fround(3e-8)],
    [0.5, 0, -1, 2],
    [1, 2, 3],
  ]);
  tf.dispose([...variables.values()]);
});

test("one of another version is refused by its name, although there is an older one", async () => {
  const folder = join(root, "newer");
  await cp(FIXTURE, folder, { recursive: true });
  const state = JSON.parse(await readFile(join(folder, STATE), "utf8"));
  const newer = join(folder, "step-0000000009.json");
  await writeFile(newer, JSON.stringify({ ...state, version: 2 }));
  await expect(findCheckpoint(folder)).rejects.toThrow(
    `${newer}: version must be 1, is 2; a newer version of gblr wrote it: update gblr, or start a new run`,
  );
});
