// Models for the tests of `gblr inspect`: a checkpoint of the reference implementation as folders of every form, in a
// temporary place, and the command as a user runs it.

import { expect } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { type StoredTensor, writeModel, writeSafetensors } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { pack } from "../../workbench/gblr/packed.ts";
import type { Inspection } from "../../workbench/report/describe-model.ts";

export const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
export const REFERENCE = path.join(import.meta.dir, "../fixtures/checkpoint/tiny-gpt2-gaudi.safetensors");
let folder = "";
/** A path in the folder that is removed after the tests. */
export const at = (...names: string[]) => path.join(folder, ...names);

interface Layer {
  n_in: number;
  n_out: number;
  blocks: number;
}

export let tensors: Map<string, StoredTensor>;
export const layers: Record<string, Layer> = {};
const parts = ["lr_weight1", "lr_weight2", "widths", "locations", "sigma", "freq_in", "freq_out"];

export const config = (change: object = {}) =>
  JSON.stringify({ model_type: "gpt2", gblr: { format: 1, structure: "gblr", layers, ...change } });

export function run(...args: string[]): { code: number; stdout: string; stderr: string } {
  // A Hub and a cache of its own, for models by name.
  const env = { ...process.env, HF_ENDPOINT: `file:${at("hub")}`, HF_HOME: at("huggingface"), HF_HUB_CACHE: "" };
  const child = Bun.spawnSync([process.execPath, GBLR, "inspect", ...args], { cwd: folder, env });
  return { code: child.exitCode, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
}

export function inspected(...args: string[]): Inspection & { plot?: string } {
  const { code, stdout, stderr } = run(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Inspection;
}

/** The tensors with each GBLR layer in packed form. */
async function packed(): Promise<Map<string, StoredTensor>> {
  const result = new Map(tensors);
  for (const name of Object.keys(layers)) {
    const values = parts.slice(0, 4).map((part) => {
      const { data, shape } = tensors.get(`${name}.${part}`) as StoredTensor;
      return [part, tf.tensor(data as Float32Array, [...shape], "float32")];
    });
    const { spans, values_in, values_out } = await pack(
      new GblrMatrix(Object.fromEntries(values) as unknown as GblrParameters),
    );
    for (const part of parts) result.delete(`${name}.${part}`);
    const [data, dataIn, dataOut] = [await spans.data(), await values_in.data(), await values_out.data()];
    result.set(`${name}.spans`, { dtype: "I32", shape: spans.shape, data: data as Int32Array });
    result.set(`${name}.values_in`, { dtype: "F32", shape: values_in.shape, data: dataIn as Float32Array });
    result.set(`${name}.values_out`, { dtype: "F32", shape: values_out.shape, data: dataOut as Float32Array });
  }
  return result;
}

async function writeFolder(name: string, content: Map<string, StoredTensor>, maxShardBytes = 5e9): Promise<string> {
  mkdirSync(at(name));
  for await (const _ of writeModel(at(name), sourcesOf(content), { maxShardBytes }));
  writeFileSync(at(name, "config.json"), config());
  return at(name);
}

/** Writes the folders `packed`, `sharded` and `trainable`, all of the same model. For `beforeAll`. */
export async function makeModels(): Promise<void> {
  folder = mkdtempSync(path.join(os.tmpdir(), "gblr-inspect-"));
  mkdirSync(at("hub"));
  tensors = await readSafetensors(REFERENCE);
  for (const [name, { shape }] of tensors) {
    if (!name.endsWith(".lr_weight1")) continue;
    const layer = name.slice(0, -".lr_weight1".length);
    const nOut = tensors.get(`${layer}.lr_weight2`)?.shape[1] as number;
    layers[layer] = { n_in: shape[2] as number, n_out: nOut, blocks: shape[0] as number };
  }
  await openEngine({ engine: "wasm" });
  tf.engine().startScope();
  const small = await packed();
  tf.engine().endScope();
  await writeFolder("packed", small);
  await writeFolder("sharded", small, 4000);
  mkdirSync(at("trainable"));
  writeFileSync(at("trainable", "config.json"), config());
  await writeSafetensors(at("trainable", "trainable.safetensors"), sourcesOf(tensors));
}

/** For `afterAll`. */
export function removeModels(): void {
  rmSync(folder, { recursive: true, force: true });
}

export const zeros = (...shape: number[]): StoredTensor => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((product, side) => product * side, 1)),
});
