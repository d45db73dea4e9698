// Training checkpoints of every version that has been are read for ever; of a version that is not known none is used, nor
// an older one in its place.

import { afterAll, expect, test } from "bun:test";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { findCheckpoint, restore } from "../../workbench/train/checkpoint.ts";

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
  await restore(FIXTURE, checkpoint?.tensors ?? [], variables);
  const values = await Promise.all([...variables.values()].map(async (variable) => [...(await variable.data())]));
  expect(values).toEqual([
    [1, -2.5, 0.125, Math.fround(3e-8)],
    [0.5, 0, -1, 2],
    [1, 2, 3],
  ]);
  tf.dispose([...variables.values()]);
});

test("a checkpoint of version 2, of two processes, is read whole, or in the parts that a process asks for", async () => {
  await openEngine({ engine: "cpu" });
  const folder = FIXTURE.replace("v1", "v2");
  const { checkpoint, passedOver } = await findCheckpoint(folder);
  expect({ step: checkpoint?.run.step, passedOver }).toEqual({ step: 7, passedOver: [] });
  const names = ["parameter/h.0.bias", "first/h.0.bias", "second/h.0.bias"];
  const variables = new Map(names.map((name) => [name, tf.variable(tf.zeros([2]))]));
  variables.set("first/h.0.weight", tf.variable(tf.zeros([2, 2])));
  await restore(folder, checkpoint?.tensors ?? [], variables);
  const values = await Promise.all([...variables.values()].map(async (variable) => [...(await variable.data())]));
  expect(values).toEqual([
    [4, 5],
    [0.25, -8],
    [6, 7],
    [0.5, 0, -1, 2],
  ]);
  const other = new Map([...variables, ["second/h.1.bias", tf.variable(tf.zeros([2]))] as const]);
  for (const variable of other.values()) variable.assign(tf.zerosLike(variable));
  await expect(restore(folder, checkpoint?.tensors ?? [], other)).rejects.toThrow(
    /step-0000000007\.safetensors: "second\/h\.1\.bias" is missing as float32 \(2\); start a new run$/,
  );
  for (const variable of other.values()) expect([...(await variable.data())].every((value) => value === 0)).toBe(true);
  tf.dispose([...other.values()]);
});

test("one of another version is refused by its name, although there is an older one", async () => {
  const folder = join(root, "newer");
  await cp(FIXTURE, folder, { recursive: true });
  const state = JSON.parse(await readFile(join(folder, STATE), "utf8"));
  const newer = join(folder, "step-0000000009.json");
  await writeFile(newer, JSON.stringify({ ...state, version: 3 }));
  await expect(findCheckpoint(folder)).rejects.toThrow(
    `${newer}: version must be 2, is 3; a newer version of gblr wrote it: update gblr, or start a new run`,
  );
});
