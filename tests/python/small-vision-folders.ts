// Small image models with random weights in every naming and structure, saved as folders, with the logits that the
// workbench has of them: what Python is held against.

import { writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { convert, type PlanOptions, planConversion } from "../../workbench/compress/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { Model, saveModelNow } from "../../workbench/models/index.ts";
import {
  logitsOf,
  MIXER,
  RESNET,
  RESNET_BOTTLENECKS,
  RESNET_TRANSFORMERS,
  RESNET_TRANSFORMERS_BOTTLENECKS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT,
  VIT_TRANSFORMERS,
} from "../architectures/small-vision.ts";

export const BATCH = 2;
export const SIZES = [16, 24] as const;

export interface VisionFolder {
  name: string;
  folder: string;
  size: number;
  trainable: boolean;
  /** as evaluation has them, (2 · 5) in a row */
  logits: Float32Array;
}

interface Kind {
  make: () => Model;
  size: number;
  plans: Record<string, PlanOptions | undefined>;
}

const DENSE = { dense: undefined };
const PLANS: Kind["plans"] = {
  ...DENSE,
  gblr: { structure: "gblr", budget: 0.6 },
  lowrank: { structure: "lowrank", budget: 0.6 },
};
const BLOCKS: Kind["plans"] = {
  monarch: { structure: "monarch", budget: 0.6 },
  "block-low-rank": { structure: "block-low-rank", budget: 0.6 },
  "block-sparse": { structure: "block-sparse", budget: 0.6 },
};
const KEYS: Kind["plans"] = { "gblr of keys": { structure: "gblr", budget: 0.5, layers: "0.attn.k_proj" } };
const CONVOLUTIONS: Kind["plans"] = {
  "gblr per kernel": { structure: "gblr", budget: 0.8, convolutions: "per-kernel" },
  "lowrank per kernel, some dense": {
    structure: "lowrank",
    budget: 0.8,
    convolutions: "per-kernel",
    allocation: "global",
  },
  tucker: { structure: "tucker", budget: 0.5 },
  "gblr with all convolutions": { structure: "gblr", budget: 0.6, layers: ["conv", "downsample"] },
};

const timm = (architecture: string, args: object) => ({
  ...VIT,
  architecture,
  model_args: { ...VIT.model_args, ...args },
});
const vit = (config: object, plans: Kind["plans"]): Kind => ({
  make: () => smallVit(config) as Model,
  size: 16,
  plans,
});
const FEW = { dense: undefined, gblr: PLANS.gblr };

/** As timm wrote config.json before it had pretrained_cfg. */
const SINGLE = { input_size: [3, 16, 16], mean: [0.5, 0.5, 0.5], crop_pct: 0.95, labels: [..."abcde"] };

export const KINDS: Record<string, Kind> = {
  "vit, timm": vit(VIT, { ...PLANS, ...BLOCKS, ...KEYS }),
  "vit, hugging face": vit(VIT_TRANSFORMERS, { ...PLANS, ...BLOCKS, ...KEYS }),
  "vit, timm in one dictionary": vit({ ...VIT, ...SINGLE }, FEW),
  "vit, average": vit(timm("vit_tiny_patch4_16", { global_pool: "avg" }), FEW),
  "vit, average of what is normalized": vit(timm("vit_tiny_patch4_16", { global_pool: "avg", fc_norm: false }), FEW),
  "vit, no class token": vit(timm("vit_tiny_patch4_16", { global_pool: "avg", class_token: false }), FEW),
  "vit, no biases, tanh before the head": vit(
    timm("vit_tiny_patch4_16", { qkv_bias: false, representation_size: 10, mlp_ratio: 2.5 }),
    FEW,
  ),
  "deit 3": vit(timm("deit3_tiny_patch4_16.tag", {}), FEW),
  "vit, hugging face, tanh": vit({ ...VIT_TRANSFORMERS, hidden_act: "gelu_new", qkv_bias: false }, FEW),
  "resnet, timm": {
    make: () => smallResnet(RESNET) as Model,
    size: 24,
    plans: { ...PLANS, ...BLOCKS, ...CONVOLUTIONS },
  },
  "resnet, hugging face": {
    make: () => smallResnet(RESNET_TRANSFORMERS) as Model,
    size: 24,
    plans: { ...PLANS, ...CONVOLUTIONS },
  },
  "resnet of bottlenecks, timm": {
    make: () => smallResnet(RESNET_BOTTLENECKS) as Model,
    size: 24,
    plans: { ...PLANS, ...BLOCKS, ...CONVOLUTIONS },
  },
  "resnet of bottlenecks, hugging face": {
    make: () => smallResnet(RESNET_TRANSFORMERS_BOTTLENECKS) as Model,
    size: 24,
    plans: { ...PLANS, ...CONVOLUTIONS },
  },
  mixer: { make: () => smallMixer(MIXER) as Model, size: 16, plans: { ...PLANS, ...BLOCKS } },
};

/** Saves all of them. @param at gives a folder for a name */
export async function visionFolders(at: (name: string) => string): Promise<VisionFolder[]> {
  const found: VisionFolder[] = [];
  for (const [name, kind] of Object.entries(KINDS)) {
    for (const what of Object.keys(kind.plans)) {
      const folder = at(`${name} ${what}`.replaceAll(/\W+/g, "-"));
      const trainable = await saveKind(kind, { folder, what });
      const stored = await loadModelNow(folder);
      found.push({
        name: `${name}: ${what}`,
        folder,
        size: kind.size,
        trainable,
        logits: await logits(stored, kind.size),
      });
      stored.dispose();
    }
  }
  return found;
}

export interface SaveKindOptions {
  folder: string;
  /** one of the kind's plans */
  what: string;
  /** how Hugging Face's processors prepare its images */
  processor?: object;
}

/** @returns whether there is a trainable form */
export async function saveKind({ make, plans }: Kind, { folder, what, processor }: SaveKindOptions): Promise<boolean> {
  const plan = plans[what];
  const made = make();
  const model = processor ? new Model({ ...made, preprocessor: { ...processor } }) : made;
  if (plan) await converted(model, plan);
  const trainable = [...model.layers.values()].some(({ structure }) => structure.name === "gblr");
  await saveModelNow(model, folder, { trainable });
  if (processor) writeFileSync(`${folder}/preprocessor_config.json`, JSON.stringify(processor));
  model.dispose();
  return trainable;
}

async function converted(model: Model, options: PlanOptions): Promise<void> {
  const plan = await planConversion(model, options);
  for await (const event of convert(model, plan)) if (event.kind === "converted") return;
  throw new Error("the conversion did not end");
}

async function logits(model: Model, size: number): Promise<Float32Array> {
  const images = someImages(BATCH, size);
  const values = await logitsOf(model, images);
  images.dispose();
  return values;
}

/** By size, as they are asked of Python. */
export function imagesBySize(): Record<string, number[]> {
  return Object.fromEntries(
    SIZES.map((size) => {
      const values = tf.tidy(() => [...someImages(BATCH, size).dataSync()]);
      return [size, values];
    }),
  );
}
