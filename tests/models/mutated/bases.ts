// Small valid model folders of every structure and form, as what mutations start from.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { convert, planConversion } from "../../../workbench/compress/index.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { type Gpt2Config, type LoadOptions, Model, saveModelNow } from "../../../workbench/models/index.ts";
import { logitsOf, someImages } from "../../architectures/small-vision.ts";
import { KINDS, saveKind } from "../../python/small-vision-folders.ts";
import { smallLlama } from "../small-llama.ts";
import { ids, livelier, structured, taken, tinyGpt2 } from "../tiny.ts";
import { decodeTensors, type RawFolder } from "./files.ts";

export interface Base extends Omit<RawFolder, "raw"> {
  name: string;
  /** of images; undefined for a language model */
  size: number | undefined;
  /** of its convolutions, by layer */
  kernels: Map<string, readonly [number, number]>;
}

const MIXED = {
  "h.0.attn.c_attn": "gblr",
  "h.0.attn.c_proj": "monarch",
  "h.0.mlp.c_fc": "block-sparse",
  "h.0.mlp.c_proj": "gblr",
  "h.1.attn.c_attn": "block-low-rank",
  "h.1.mlp.c_fc": "gblr",
  "h.1.mlp.c_proj": "lowrank",
};

/** @param at gives a folder for a name */
export async function makeBases(at: (name: string) => string): Promise<Base[]> {
  await saveModelNow(await mixed(), at("mixed"), { trainable: true });
  const smooth = await structured(livelier(tinyGpt2()), ["h.0.mlp.c_fc", "h.1.attn.c_attn"], "gblr");
  smooth.masks.sigma = 6;
  await saveModelNow(new Model({ ...smooth, prefix: "transformer." }), at("smooth"), { trainable: true });
  await saveModelNow(await grouped(), at("grouped"), { trainable: true });
  await saveModelNow(await mixed(), at("half"), { dtype: "bfloat16" });
  for (const [kind, what] of VISION) await saveKind(KINDS[kind] as never, { folder: at(`${kind} ${what}`), what });
  return [
    baseOf("mixed", at("mixed")),
    baseOf("smooth", at("smooth")),
    baseOf("grouped", at("grouped")),
    baseOf("half", at("half")),
    ...VISION.map(([kind, what]) => baseOf(`${kind} ${what}`, at(`${kind} ${what}`), KINDS[kind]?.size)),
  ];
}

const VISION = [
  ["vit, timm", "gblr of keys"],
  ["vit, hugging face", "block-sparse"],
  ["resnet, timm", "tucker"],
  ["resnet, hugging face", "gblr"],
  ["resnet, timm", "gblr per kernel"],
] as const;

async function mixed(): Promise<Model<Gpt2Config>> {
  const model = livelier(tinyGpt2());
  for (const [layer, structure] of Object.entries(MIXED)) await structured(model, [layer], structure);
  return model;
}

/** A Qwen3, whose names all begin with `model.`. */
async function grouped(): Promise<Model> {
  const model = smallLlama({ model_type: "qwen3", tie_word_embeddings: true }) as Model;
  for (const [structure, layers] of [
    ["gblr", ["k_proj", "gate_proj"]],
    ["lowrank", ["o_proj"]],
  ] as const) {
    for await (const _ of convert(model, await planConversion(model, { structure, budget: 0.6, layers })));
  }
  return model;
}

function baseOf(name: string, folder: string, size?: number): Base {
  const read = (file: string) => readFileSync(path.join(folder, file));
  const config = JSON.parse(read("config.json").toString()) as Record<string, unknown>;
  const { layers } = config.gblr as { layers: Record<string, { kernel?: [number, number] }> };
  const trainable = existsSync(path.join(folder, "trainable.safetensors"));
  return {
    name,
    size,
    config,
    model: decodeTensors(read("model.safetensors")),
    trainable: trainable ? decodeTensors(read("trainable.safetensors")) : undefined,
    kernels: new Map(Object.entries(layers).flatMap(([layer, { kernel }]) => (kernel ? [[layer, kernel]] : []))),
  };
}

/**
 * What a folder computes, as evaluation has it, or why its model does not take these inputs.
 * @throws what the load throws
 */
export async function logitsIn(
  folder: string,
  size: number | undefined,
  form: LoadOptions["form"],
): Promise<{ logits?: Float32Array; failure?: string }> {
  const model = await loadModelNow(folder, { form: form ?? "auto" });
  model.masks.mode = "eval";
  try {
    return { logits: await forward(model, size) };
  } catch (error) {
    return { failure: (error as Error).message };
  } finally {
    model.dispose();
  }
}

async function forward(model: Model, size: number | undefined): Promise<Float32Array> {
  if (size === undefined) return taken(tf.tidy(() => languageLogits(model as Model<Gpt2Config>, ids(1, 9))));
  const images = someImages(1, size);
  try {
    return await logitsOf(model, images);
  } finally {
    images.dispose();
  }
}
