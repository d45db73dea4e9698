// Classifiers read with a head for other classes: what is kept, what starts anew, what config.json says, and that a folder
// saved so is like any other.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { openModel } from "../../hub/model-folder/index.ts";
import { writeSafetensors } from "../../hub/safetensors/index.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { convert, planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { createModel, gpt2, imageSettings, type Model, saveModelNow } from "../../workbench/models/index.ts";
import {
  logitsOf,
  RESNET_TRANSFORMERS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT,
  VIT_TRANSFORMERS,
} from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { valuesOf } from "./tiny.ts";

const folder = temporaryFolder();
const CLASSES = ["blue", "green", "red"];
const HEAD = /^(head|fc)\./;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
});

const MODELS: [string, () => Model][] = [
  ["vit", () => smallVit() as unknown as Model],
  ["vit-transformers", () => smallVit(VIT_TRANSFORMERS) as unknown as Model],
  ["resnet", () => smallResnet() as unknown as Model],
  ["resnet-transformers", () => smallResnet(RESNET_TRANSFORMERS) as unknown as Model],
  ["mixer", () => smallMixer() as unknown as Model],
];

describe.each(MODELS)("a new head of a %s", (name, made) => {
  let model: Model;
  beforeAll(async () => {
    const before = made();
    await saveModelNow(before, folder(name));
    before.dispose();
    model = await loadModelNow(folder(name), { head: { classes: CLASSES, seed: 7 } });
  });

  test("leaves everything else as it is in the folder", async () => {
    const [own, before] = [await valuesOf(model), await loadModelNow(folder(name))];
    const kept = await valuesOf(before);
    expect([...own.keys()]).toEqual([...kept.keys()]);
    for (const [parameter, values] of kept) {
      if (!HEAD.test(parameter)) expect([parameter, own.get(parameter)]).toEqual([parameter, values]);
    }
    before.dispose();
  });

  test("starts as training from scratch does, by its seed alone", async () => {
    const heads = async (seed: number) => {
      const loaded = await loadModelNow(folder(name), { head: { classes: CLASSES, seed } });
      const values = [...(await valuesOf(loaded))].filter(([parameter]) => HEAD.test(parameter));
      loaded.dispose();
      return values;
    };
    const [own, same, other] = [await heads(7), await heads(7), await heads(8)];
    expect(own).toEqual(same);
    const [[, weight], [, bias]] = own as [[string, Float32Array], [string, Float32Array]];
    expect(bias).toHaveLength(3);
    const most = weight.reduce((sofar, value) => Math.max(sofar, Math.abs(value)), 0);
    if (name === "mixer") return expect(most).toBe(0);
    expect(own).not.toEqual(other);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(name.startsWith("vit") ? 0.1 : 1 / Math.sqrt(12));
  });

  test("has the classes' names, and is saved and read as any other", async () => {
    expect(imageSettings(model)).toMatchObject({ classes: 3, labels: CLASSES });
    const images = someImages(2, imageSettings(model).size);
    const logits = await logitsOf(model, images);
    expect(logits).toHaveLength(6);
    await saveModelNow(model, folder(`${name}-saved`));
    const again = await loadModelNow(folder(`${name}-saved`));
    expect(imageSettings(again)).toMatchObject({ classes: 3, labels: CLASSES });
    expect(await logitsOf(again, images)).toEqual(logits);
    again.dispose();
    images.dispose();
    const config = JSON.parse(readFileSync(folder(`${name}-saved`, "config.json"), "utf8"));
    if (name.endsWith("transformers")) {
      expect(config.id2label).toEqual({ 0: "blue", 1: "green", 2: "red" });
      expect(config.label2id).toEqual({ blue: 0, green: 1, red: 2 });
    } else expect(config).toMatchObject({ num_classes: 3, label_names: CLASSES });
    model.dispose();
  });
});

test("a folder whose model has no head gets one", async () => {
  const model = smallVit();
  await saveModelNow(model, folder("headless"));
  model.dispose();
  const { tensors } = await openModel(folder("headless"));
  const kept = [...tensors.tensors.keys()].filter((name) => !HEAD.test(name));
  const read = await Promise.all(kept.map(async (name) => [name, await tensors.read(name)] as const));
  await tensors.close();
  await writeSafetensors(folder("headless", "model.safetensors"), sourcesOf(read));
  await expect(loadModelNow(folder("headless"))).rejects.toThrow('"head.weight": is missing');
  const loaded = await loadModelNow(folder("headless"), { head: { classes: CLASSES } });
  expect(loaded.parameter("head.weight").shape).toEqual([3, 24]);
  loaded.dispose();
});

test.each([
  ["vit", VIT_TRANSFORMERS, () => smallVit(VIT_TRANSFORMERS) as unknown as Model],
  ["resnet", RESNET_TRANSFORMERS, () => smallResnet(RESNET_TRANSFORMERS) as unknown as Model],
])("a bare %s of Hugging Face's, whose names begin with nothing, gets one too", async (name, json, make) => {
  const model = make();
  await saveModelNow(model, folder(`whole-${name}`));
  model.dispose();
  const { tensors } = await openModel(folder(`whole-${name}`));
  const kept = [...tensors.tensors.keys()].filter((stored) => stored.startsWith(`${name}.`));
  const read = await Promise.all(
    kept.map(async (stored) => [stored.slice(name.length + 1), await tensors.read(stored)] as const),
  );
  await tensors.close();
  const pooler = { dtype: "F32", shape: [2], data: new Float32Array(2) } as const;
  const all = name === "vit" ? [...read, ["pooler.dense.bias", pooler] as const] : read;
  mkdirSync(folder(`bare-${name}`));
  await writeSafetensors(folder(`bare-${name}`, "model.safetensors"), sourcesOf(all));
  const { id2label: _, ...bare } = json;
  const config = { ...bare, architectures: [name === "vit" ? "ViTModel" : "ResNetModel"] };
  writeFileSync(folder(`bare-${name}`, "config.json"), JSON.stringify(config));
  const head = { classes: CLASSES, seed: 5 };
  const [loaded, whole] = [
    await loadModelNow(folder(`bare-${name}`), { head }),
    await loadModelNow(folder(`whole-${name}`), { head }),
  ];
  expect(await valuesOf(loaded)).toEqual(await valuesOf(whole));
  await saveModelNow(loaded, folder(`bare-${name}-saved`));
  const saved = await openModel(folder(`bare-${name}-saved`));
  const names = [...saved.tensors.tensors.keys()];
  await saved.tensors.close();
  expect(
    names.filter((stored) => !stored.startsWith(`${name}.`)).every((stored) => stored.startsWith("classifier.")),
  ).toBe(true);
  const written = JSON.parse(readFileSync(folder(`bare-${name}-saved`, "config.json"), "utf8"));
  expect(written.architectures).toEqual([
    name === "vit" ? "ViTForImageClassification" : "ResNetForImageClassification",
  ]);
  loaded.dispose();
  whole.dispose();
});

test("a compressed model keeps its blocks, and timm's config says the new number everywhere", async () => {
  const cfg = { num_classes: 5, input_size: [3, 16, 16], crop_pct: 0.95 };
  const model = smallVit({ ...VIT, pretrained_cfg: cfg, label_descriptions: { a: "letter" } }) as unknown as Model;
  const plan = await planConversion(model, { structure: "gblr", budget: 0.5 });
  for await (const _ of convert(model, plan, {}));
  await saveModelNow(model, folder("packed"), { trainable: true });
  model.dispose();
  const loaded = await loadModelNow(folder("packed"), { form: "trainable", head: { classes: CLASSES } });
  expect(loaded.layer("blocks.0.mlp.fc1").structure.name).toBe("gblr");
  expect(loaded.json).toMatchObject({ num_classes: 3, pretrained_cfg: { ...cfg, num_classes: 3 } });
  expect(loaded.json).not.toHaveProperty("label_descriptions");
  loaded.dispose();
});

test("a language model has no such head", async () => {
  const model = createModel(gpt2, { n_layer: 1, n_embd: 8, n_head: 1, n_positions: 4, vocab_size: 9 });
  await saveModelNow(model, folder("gpt2"));
  model.dispose();
  await expect(loadModelNow(folder("gpt2"), { head: { classes: CLASSES } })).rejects.toThrow(
    "is a gpt2, which has no classification head",
  );
});

test.each(["vit", "vit-transformers"])("classes of a %s may be called as properties of every object", async (name) => {
  const classes = ["__proto__", "constructor", "toString", "valueOf"];
  const model = await loadModelNow(folder(name), { head: { classes } });
  await saveModelNow(model, folder("properties"));
  model.dispose();
  const again = await loadModelNow(folder("properties"));
  again.dispose();
  expect(imageSettings(again).labels).toEqual(classes);
  const { label2id } = JSON.parse(readFileSync(folder("properties", "config.json"), "utf8"));
  if (name === "vit-transformers") expect(Object.entries(label2id)).toEqual(classes.map((each, i) => [each, i]));
});
