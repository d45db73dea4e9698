// A save that ends with its process, by SIGKILL at random moments and at the worst one: the folder holds one whole model.

import { beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import * as tf from "@tensorflow/tfjs-core";
import { stageFile } from "../../hub/files/atomic-file.ts";
import { findLayers, finishReplacing, openModel } from "../../hub/model-folder/index.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Gpt2Config, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { ids, taken } from "./tiny.ts";
import { first, second } from "./two-models.ts";

const folder = temporaryFolder();
const outputs: Float32Array[] = [];

const outputOf = async (model: Model<Gpt2Config>) => {
  model.masks.mode = "eval";
  const values = await taken(tf.tidy(() => languageLogits(model, ids(1, 9))));
  model.dispose();
  return values;
};

beforeAll(async () => {
  await openEngine();
  outputs.push(await outputOf(await first()), await outputOf(await second()));
});

const isOneOf = (values: Float32Array) =>
  outputs.some((known) => known.every((value, i) => Math.abs(value - (values[i] as number)) < 1e-5));

test("killed at a random moment, a save leaves one model or the other", async () => {
  const path = folder("killed");
  await saveModelNow(await second(), path);
  const structures = new Set<string>();
  for (let round = 0; round < 5; round++) {
    const saving = Bun.spawn([process.execPath, `${import.meta.dir}/save-forever.ts`, path], { stdout: "pipe" });
    await saving.stdout.getReader().read();
    await Bun.sleep(20 + 200 * Math.random());
    saving.kill("SIGKILL");
    await saving.exited;
    const model = (await loadModelNow(path)) as Model<Gpt2Config>;
    structures.add(model.layer("h.0.mlp.c_fc").structure.name);
    expect(isOneOf(await outputOf(model))).toBe(true);
    const open = await openModel(path);
    findLayers(open);
    await open.tensors.close();
  }
  expect(structures.size).toBeGreaterThan(0);
  await saveModelNow(await second(), path);
  expect(readdirSync(path).sort()).toEqual(
    ["config.json", "model.safetensors"].sort().concat(pythonFiles(path)).sort(),
  );
}, 60_000);

/** Files of the other model that are no part of one. */
const pythonFiles = (path: string) => readdirSync(path).filter((name) => name.endsWith(".py"));

test("cut off between two renames, the rest is made good by whoever opens the folder", async () => {
  const path = folder("between");
  await saveModelNow(await second(), path);
  await saveModelNow(await first(), folder("wanted"), { trainable: true });
  const names = readdirSync(folder("wanted"));
  const renamed: [string, string][] = [];
  for (const name of names) {
    const staged = await stageFile(`${path}/${name}`);
    await staged.append(new Uint8Array(await Bun.file(folder("wanted", name)).arrayBuffer()));
    await staged.finish();
    renamed.push([staged.temporary.split("/").at(-1) as string, name]);
  }
  await writeFile(`${path}/.replacing.json`, JSON.stringify({ renamed, removed: [] }));
  const [from, to] = renamed[0] as [string, string];
  await rename(`${path}/${from}`, `${path}/${to}`);
  expect(isOneOf(await outputOf((await loadModelNow(path)) as Model<Gpt2Config>))).toBe(true);
  expect(readdirSync(path).sort()).toEqual(names.sort());
});

test("a list of renames that is not ours is refused, and nothing is renamed or removed", async () => {
  for (const list of [
    { renamed: [["../x", "config.json"]], removed: [] },
    { renamed: [["model.safetensors", "config.json"]], removed: [] },
    { renamed: [], removed: ["../model.safetensors"] },
    { renamed: [], removed: ["config.json"] },
    { renamed: [] },
    "x",
  ]) {
    const path = folder("foreign");
    await saveModelNow(await second(), path);
    await writeFile(`${path}/.replacing.json`, JSON.stringify(list));
    await expect(finishReplacing(path)).rejects.toThrow(/is not a list of files to replace; remove it/);
    expect(readdirSync(path).sort()).toEqual([".replacing.json", "config.json", "model.safetensors"]);
    await Bun.file(`${path}/.replacing.json`).delete();
  }
});
