// Checkpoints whose names all begin with what a training script wrapped the model in: the same figures to the last bit,
// and saved under the model's own names.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { unwrapModel, wrapperOf } from "../../hub/model-folder/index.ts";
import { type StoredTensor, writeSafetensors } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { convert, planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { isLanguageModel, type Model, saveModelNow } from "../../workbench/models/index.ts";
import {
  logitsOf,
  RESNET,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT_TRANSFORMERS,
} from "../architectures/small-vision.ts";
import { push } from "../hub/checkpoint/build.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { smallLlama } from "./small-llama.ts";
import { ids, livelier, structured, taken, tinyGpt2 } from "./tiny.ts";
import { checkpointOf } from "./tiny-checkpoint.ts";

const at = temporaryFolder();

const MODELS: Record<string, () => Promise<Model>> = {
  "ViT under Hugging Face's names": async () => smallVit(VIT_TRANSFORMERS) as Model,
  ViT: async () => smallVit() as Model,
  ResNet: async () => smallResnet(RESNET) as Model,
  Mixer: async () => smallMixer() as Model,
  "GPT-2": async () => livelier(tinyGpt2()) as Model,
  "Llama, whose names all begin with model.": async () => smallLlama() as Model,
  "Llama with a head of its own": async () => smallLlama({ model_type: "llama" }) as Model,
  "Llama in GBLR": async () => converted(smallLlama() as Model),
  "GPT-2 in GBLR": async () => (await structured(livelier(tinyGpt2()), ["h.0.mlp.c_fc"], "gblr")) as Model,
};

async function converted(model: Model): Promise<Model> {
  for await (const _ of convert(model, await planConversion(model, { structure: "gblr", budget: 0.6 })));
  return model;
}

const figures = (model: Model): Promise<Float32Array> =>
  isLanguageModel(model)
    ? taken(languageLogits(model, ids(1, 9)))
    : logitsOf(model, someImages(2, model.architecture.type === "resnet" ? 24 : 16));

beforeAll(async () => {
  await openEngine();
});

async function rename(file: string, prefix: string): Promise<void> {
  const tensors = new Map([...(await readSafetensors(file))].map(([name, tensor]) => [prefix + name, tensor]));
  await writeSafetensors(file, sourcesOf(tensors));
}

const PREFIXES = [
  "module.",
  "_orig_mod.",
  "model.",
  "backbone.",
  "net.",
  "module._orig_mod.",
  "model.net.module.backbone.",
];

for (const [name, make] of Object.entries(MODELS)) {
  test(`${name}: the same figures, whatever its names begin with`, async () => {
    const model = await make();
    await saveModelNow(model, at(name), { trainable: true });
    model.dispose();
    const plain = await loadModelNow(at(name));
    const expected = await figures(plain);
    plain.dispose();
    const files = ["model.safetensors", "trainable.safetensors"];
    const own = [...(await readSafetensors(at(name, "model.safetensors"))).keys()];
    for (const prefix of PREFIXES) {
      const folder = at(`${name} ${prefix}`);
      cpSync(at(name), folder, { recursive: true });
      for (const file of files) await rename(`${folder}/${file}`, prefix).catch(() => {});
      const wrapped = await loadModelNow(folder);
      expect({ prefix, values: await figures(wrapped) }).toEqual({ prefix, values: expected });
      await saveModelNow(wrapped, at("saved"));
      expect([...(await readSafetensors(at("saved", "model.safetensors"))).keys()]).toEqual(own);
      wrapped.dispose();
      if (name.endsWith("GBLR")) (await loadModelNow(folder, { form: "trainable" })).dispose();
    }
  });
}

test("names of pytorch_model.bin are taken from behind a wrapper too", async () => {
  const model = smallResnet() as Model;
  await saveModelNow(model, at("old"));
  const expected = await figures(model);
  model.dispose();
  const tensors = await readSafetensors(at("old", "model.safetensors"));
  const wrapped = new Map([...tensors].map(([name, tensor]): [string, StoredTensor] => [`module.${name}`, tensor]));
  writeFileSync(at("old", "pytorch_model.bin"), checkpointOf(wrapped, push.dict({})));
  rmSync(at("old", "model.safetensors"));
  const loaded = await loadModelNow(at("old"));
  expect(await figures(loaded)).toEqual(expected);
  loaded.dispose();
});

test("a name without the wrapper leaves all names as they are, and what is wrong is told by them", async () => {
  const model = smallResnet() as Model;
  await saveModelNow(model, at("mixed"));
  model.dispose();
  const [first = "", ...others] = (await readSafetensors(at("mixed", "model.safetensors"))).keys();
  const tensors = await readSafetensors(at("mixed", "model.safetensors"));
  const names = new Map([...tensors].map(([name, tensor]) => [name === first ? name : `module.${name}`, tensor]));
  await writeSafetensors(at("mixed", "model.safetensors"), sourcesOf(names));
  expect(others.length).toBeGreaterThan(0);
  await expect(loadModelNow(at("mixed"))).rejects.toThrow(/model\.safetensors: tensor "[^"]+": is missing/);
});

test.each([
  [["module.a", "module.b"], "module."],
  [["module._orig_mod.a", "module._orig_mod.b"], "module._orig_mod."],
  [["_orig_mod.module.a", "_orig_mod.b"], "_orig_mod."],
  [["module.a", "b"], ""],
  [["modules.a"], ""],
  [["vit.a", "vit.b"], ""],
  [["model.a", "model.b"], "model."],
  [[], ""],
])("of %j, %j is the wrapper", (names, wrapper) => {
  expect(wrapperOf(names)).toBe(wrapper);
});

test.each([
  [["model.a", "model.b"], ""],
  [["model.a", "head"], ""],
  [["model.model.a", "model.model.b"], "model."],
  [["model.model.a", "model.head"], "model."],
  [["module.model.a", "module.model.b"], "module."],
  [["model.net.model.a", "model.net.model.b"], "model.net."],
  [["module.a", "module.b"], "module."],
])("of %j of a model whose own names begin with model., %j is the wrapper", (names, wrapper) => {
  expect(wrapperOf(names, ["model.", ""])).toBe(wrapper);
});

test("config.json may not list a layer both with the wrapper and without it", async () => {
  const folder = at("listed twice");
  cpSync(at("GPT-2 in GBLR module."), folder, { recursive: true });
  const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
  const [[name, settings]] = Object.entries(config.gblr.layers) as [[string, object]];
  config.gblr.layers[`module.${name}`] = { ...settings, blocks: 1 };
  writeFileSync(`${folder}/config.json`, JSON.stringify(config));
  for (const form of ["auto", "trainable"] as const) {
    await expect(loadModelNow(folder, { form })).rejects.toThrow(
      `layer "module.${name}": config.json also lists it under gblr.layers as "${name}"`,
    );
  }
});

test("config.json may list layers with the wrapper or without it", async () => {
  const { layers } = JSON.parse(readFileSync(at("GPT-2 in GBLR", "config.json"), "utf8")).gblr;
  const [name] = Object.keys(layers) as [string];
  for (const listed of [name, `module.${name}`]) {
    const config = {
      layers: new Map([[listed, { structure: "gblr" as const, types: ["F32"] as const, nIn: 16, nOut: 64 }]]),
    };
    const tensors = { tensors: new Map([[`module.${name}.spans`, { dtype: "I32", shape: [4, 1], byteLength: 16 }]]) };
    const opened = unwrapModel({ path: "f", config, tensors: tensors as never });
    expect([...(opened.config?.layers.keys() ?? [])]).toEqual([name]);
    expect([...opened.tensors.tensors.keys()]).toEqual([`${name}.spans`]);
  }
});
