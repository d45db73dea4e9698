// Makes the folders of one version, with the logits that PyTorch has of them. Run once for each version, when it is new;
// what is made is then kept as it is: `bun tests/models/old-folders/make.ts v1`. Needs a Python with torch.

import { existsSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { convert, type PlanOptions, planConversion } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { Model, type SavedType, saveModelNow } from "../../../workbench/models/index.ts";
import { RESNET_TRANSFORMERS, smallResnet, smallVit, VIT, VIT_TRANSFORMERS } from "../../architectures/small-vision.ts";
import { askPython, pythonWith, SOURCES } from "../../python/python.ts";
import { livelier, structured, tinyGpt2 } from "../tiny.ts";
import { IDS, pixels } from "./inputs.ts";

const GPT2 = {
  "gpt2-packed": { "h.0.attn.c_attn": "gblr", "h.0.mlp.c_fc": "gblr", "h.1.mlp.c_proj": "gblr" },
  "gpt2-factored": {
    "h.0.attn.c_attn": "monarch",
    "h.0.mlp.c_fc": "block-sparse",
    "h.1.attn.c_attn": "block-low-rank",
    "h.1.mlp.c_proj": "lowrank",
  },
  "gpt2-smooth": { "h.0.mlp.c_fc": "gblr", "h.1.attn.c_proj": "gblr" },
};

const SMALL_VIT = { ...VIT, model_args: { ...VIT.model_args, embed_dim: 12, depth: 1 } };
const SMALL_VIT_TRANSFORMERS = { ...VIT_TRANSFORMERS, hidden_size: 12, num_hidden_layers: 1, intermediate_size: 24 };

const VISION: Record<string, { make: () => Model; size: number; plan?: PlanOptions }> = {
  "vit-dense": { make: () => smallVit(SMALL_VIT_TRANSFORMERS) as Model, size: 16 },
  "vit-keys": {
    make: () => smallVit(SMALL_VIT) as Model,
    size: 16,
    plan: { structure: "gblr", budget: 0.5, layers: "0.attn.k_proj" },
  },
  "vit-lowrank": {
    make: () => smallVit(SMALL_VIT_TRANSFORMERS) as Model,
    size: 16,
    plan: { structure: "lowrank", budget: 0.6 },
  },
  "resnet-tucker": {
    make: () => smallResnet(RESNET_TRANSFORMERS) as Model,
    size: 24,
    plan: { structure: "tucker", budget: 0.5 },
  },
  "resnet-positions": {
    make: () => smallResnet({ ...RESNET_TRANSFORMERS, depths: [1], hidden_sizes: [8] }) as Model,
    size: 24,
    plan: { structure: "gblr", budget: 0.8, convolutions: "per-kernel" },
  },
};

async function languageModel(name: keyof typeof GPT2): Promise<Model> {
  const model = livelier(tinyGpt2({ n_inner: 32 }));
  for (const [layer, structure] of Object.entries(GPT2[name])) await structured(model, [layer], structure);
  if (name !== "gpt2-smooth") return model as Model;
  model.masks.sigma = 6;
  return new Model({ ...model, prefix: "transformer." }) as Model;
}

async function converted(model: Model, options: PlanOptions): Promise<Model> {
  const plan = await planConversion(model, options);
  for await (const event of convert(model, plan)) if (event.kind === "converted") return model;
  throw new Error("the conversion did not end");
}

/** The folders of a version, with the type of their tensors. Default: all that are structured, in float32 */
const OF_VERSION: Readonly<Record<string, Readonly<Record<string, SavedType>>>> = {
  v2: { "gpt2-packed": "bfloat16", "gpt2-factored": "float16", "vit-keys": "bfloat16" },
  v3: { "gpt2-packed": "int8", "gpt2-factored": "int8", "vit-keys": "int8", "vit-dense": "int8" },
};

async function save(model: Model, folder: string, dtype: SavedType): Promise<void> {
  const isGblr = [...model.layers.values()].some(({ structure }) => structure.name === "gblr");
  const files = await saveModelNow(model, folder, { trainable: isGblr && dtype === "float32", dtype });
  // Python's files are those of the reader, not of the folder.
  for (const file of files.filter((name) => name.endsWith(".py"))) await rm(path.join(folder, file));
}

const [version = ""] = process.argv.slice(2);
const python = pythonWith("torch");
if (!/^v\d+$/.test(version) || !python) throw new Error("give a version such as v1, on a machine with PyTorch");
const root = path.join(import.meta.dir, "../../fixtures/model-folders", version);
if (existsSync(root)) throw new Error(`${root} is there; fixtures of a version are never made again`);
await openEngine({ engine: "wasm" });
const cases: { folder: string; size: number | null; form: string }[] = [];
const chosen = OF_VERSION[version];
const made = [
  ...Object.keys(GPT2).map((name) => ({ name, size: null, model: () => languageModel(name as keyof typeof GPT2) })),
  ...Object.entries(VISION).map(([name, { make, size, plan }]) => ({
    name,
    size,
    model: async () => (plan ? converted(make(), plan) : make()),
  })),
].filter(({ name }) => (chosen === undefined ? name !== "vit-dense" : chosen[name] !== undefined));
for (const { name, size, model } of made) {
  const folder = path.join(root, name);
  await save(await model(), folder, chosen?.[name] ?? "float32");
  const forms = existsSync(path.join(folder, "trainable.safetensors")) ? ["auto", "trainable"] : ["auto"];
  cases.push(...forms.map((form) => ({ folder, size, form })));
}
const sizes = new Set(cases.flatMap(({ size }) => size ?? []));
const images = Object.fromEntries([...sizes].map((size) => [size, pixels(size)]));
const input = JSON.stringify({ ids: IDS, images, cases });
const answers = await askPython<{ logits?: number[]; refusal?: string }[]>(python, "folder_logits.py", {
  args: [SOURCES],
  input,
});
for (const { name, size } of made) {
  const own = cases.flatMap(({ folder, form }, i) =>
    path.basename(folder) === name ? [[form, (answers[i]?.logits ?? []).map((x) => Number(x.toPrecision(8)))]] : [],
  );
  const expected = { ...(size !== null && { size }), logits: Object.fromEntries(own) };
  writeFileSync(path.join(root, name, "expected.json"), `${JSON.stringify(expected)}\n`);
}
console.log(answers.map(({ refusal }) => refusal ?? "computed").join("\n"));
// Python waits for further scripts.
process.exit();
