// Repositories from before safetensors: pytorch_model.bin, alone or in shards, gives the model that safetensors give. The
// files are written by hand, and by PyTorch where there is one.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import type { StoredTensor } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Gpt2Config, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { checkpoint, push, tensor } from "../hub/checkpoint/build.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { PATIENCE, pythonWith, runPython } from "../python/python.ts";
import { ids, livelier, taken, tinyGpt2 } from "./tiny.ts";

const folder = temporaryFolder();
const python = pythonWith("torch");
let expected: Float32Array;
let stored: Map<string, StoredTensor>;

const logits = (model: Model<Gpt2Config>) => taken(tf.tidy(() => languageLogits(model, ids(1, 9))));

beforeAll(async () => {
  await openEngine();
  const model = livelier(tinyGpt2());
  expected = await logits(model);
  await saveModelNow(model, folder("model"));
  stored = await readSafetensors(folder("model", "model.safetensors"));
  model.dispose();
});

/** What PyTorch would write of these tensors, all float32. */
function pickled(tensors: Iterable<[string, StoredTensor]>): Uint8Array {
  const storages: Record<string, Uint8Array> = {};
  const state: Record<string, Uint8Array> = {};
  for (const [i, [name, { shape, data }]] of [...tensors].entries()) {
    storages[i] = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, side) => product * side, 1));
    state[name] = tensor({ key: String(i), length: data.length, shape: [...shape], strides });
  }
  return checkpoint(push.dict(state), storages);
}

/** A folder with the model's config.json and these files. */
function written(name: string, files: Record<string, Uint8Array | string>): string {
  mkdirSync(folder(name));
  cpSync(folder("model", "config.json"), folder(name, "config.json"));
  for (const [file, content] of Object.entries(files)) writeFileSync(folder(name, file), content);
  return folder(name);
}

async function expectSameModel(path: string): Promise<void> {
  const model = (await loadModelNow(path)) as Model<Gpt2Config>;
  expect(await logits(model)).toEqual(expected);
  model.dispose();
}

function shards(second: (names: string[]) => string[] = (names) => names): Record<string, Uint8Array | string> {
  const entries = [...stored];
  const files = [entries.slice(0, 9), entries.slice(9)];
  const name = (i: number) => `pytorch_model-0000${i + 1}-of-00002.bin`;
  const map = files.flatMap((file, i) => {
    const names = file.map(([tensor]) => tensor);
    return (i === 1 ? second(names) : names).map((tensor) => [tensor, name(i)]);
  });
  return {
    ...Object.fromEntries(files.map((file, i) => [name(i), pickled(file)])),
    "pytorch_model.bin.index.json": JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(map) }),
  };
}

test("pytorch_model.bin is the same model", async () => {
  await expectSameModel(written("single", { "pytorch_model.bin": pickled(stored) }));
});

test("pytorch_model.bin in shards is the same model", async () => {
  await expectSameModel(written("sharded", shards()));
});

test("safetensors go first where a repository has both", async () => {
  const both = written("both", { "pytorch_model.bin": "no checkpoint at all" });
  cpSync(folder("model", "model.safetensors"), `${both}/model.safetensors`);
  await expectSameModel(both);
});

test("an index that names a tensor that its shard lacks is refused by name", async () => {
  const wrong = written(
    "wrong-index",
    shards((names) => [...names, "h.9.ln_1.weight"]),
  );
  await expect(loadModelNow(wrong)).rejects.toThrow(
    `${wrong}/pytorch_model.bin.index.json: tensor "h.9.ln_1.weight": is not in pytorch_model-00002-of-00002.bin`,
  );
});

test("an index that leads out of its folder is refused", async () => {
  const files = { "pytorch_model.bin.index.json": '{"weight_map": {"wte.weight": "../single/pytorch_model.bin"}}' };
  await expect(loadModelNow(written("outside", files))).rejects.toThrow("must be the name of a bin file beside");
});

test("a file that is no checkpoint, or runs code, is one line that names it", async () => {
  const none = written("none", { "pytorch_model.bin": "no checkpoint at all" });
  await expect(loadModelNow(none)).rejects.toThrow(/^[^\n]*none\/pytorch_model\.bin: [^\n]+$/);
  const code = checkpoint(push.dict({ "wte.weight": push.call("os", "system", push.text("true")) }), {});
  const bad = written("code", { "pytorch_model.bin": code });
  await expect(loadModelNow(bad)).rejects.toThrow(/^[^\n]*pytorch_model\.bin: [^\n]*os\.system[^\n]*$/);
});

test.skipIf(!python)(
  "a file of PyTorch's own, head tied and masks in it, is the same model",
  async () => {
    const script = `
import json, sys, numpy, torch
source, out = sys.argv[1:]
raw = open(source, "rb").read()
size = int.from_bytes(raw[:8], "little")
state = {}
for name, entry in json.loads(raw[8:8 + size]).items():
    if name == "__metadata__": continue
    first, last = entry["data_offsets"]
    values = numpy.frombuffer(raw[8 + size + first:8 + size + last], dtype="<f4").reshape(entry["shape"]).copy()
    state["transformer." + name.removeprefix("transformer.")] = torch.from_numpy(values)
for i in range(2):
    state[f"transformer.h.{i}.attn.bias"] = torch.tril(torch.ones(12, 12, dtype=torch.uint8)).view(1, 1, 12, 12)
    state[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
state["lm_head.weight"] = state["transformer.wte.weight"]
torch.save(state, out)
`;
    const target = written("pytorch", {});
    const args = [folder("model", "model.safetensors"), `${target}/pytorch_model.bin`];
    const { status, stderr } = await runPython(python, script, { args });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    await expectSameModel(target);
  },
  PATIENCE,
);
