// What the authors' PyTorch modules call the parameters of an architecture, and which buffers they have beside them. The
// layers themselves are in export-reference.ts.

import type { TensorSource } from "../../hub/safetensors/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import type { Gpt2Config } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { resnetNames } from "../models/reference/index.ts";

export interface ReferenceLayout {
  /** a parameter by our name, or a layer */
  storedName(name: string): string;
  /** what is there beside parameters and the buffers of GBLR layers */
  others(model: Model): Promise<TensorSource[]>;
}

const gpt2: ReferenceLayout = {
  storedName: (name) => `transformer.${name}`,
  async others(model) {
    const config = model.config as Gpt2Config;
    const masks = Array.from({ length: config.blocks }, (_, block) =>
      causalMask(`transformer.h.${block}.attn`, config),
    );
    if (!config.tiedHead) return masks.flat();
    const embedding = model.parameter("wte.weight");
    const data = (await embedding.data()) as Float32Array;
    return [...masks.flat(), { name: "lm_head.weight", dtype: "F32", shape: embedding.shape, data }];
  },
};

/** timm's of 2021, with queries, keys and values apart whatever they are: so the modules are made when any is GBLR. */
const vit: ReferenceLayout = { storedName: (name) => name, others: async () => [] };

const resnet: ReferenceLayout = {
  storedName: resnetNames.toTheirs,
  // How many batches each normalization has seen: PyTorch wants it, and uses it for nothing here.
  others: async ({ parameters }) =>
    [...parameters.keys()]
      .filter((name) => name.endsWith(".running_var"))
      .map((name) => ({
        name: name.replace(/running_var$/, "num_batches_tracked"),
        dtype: "I64",
        shape: [],
        data: BigInt64Array.of(0n),
      })),
};

const LAYOUTS: Readonly<Record<string, ReferenceLayout>> = { gpt2, vit, resnet };

/** @throws EngineError when the architecture is not among those of the reference's released checkpoints */
export function referenceLayout(type: string): ReferenceLayout {
  const found = LAYOUTS[type];
  if (found) return found;
  const known = Object.keys(LAYOUTS).join(", ");
  throw new EngineError(`the reference's names are known for ${known}, the model is ${type}`, "export dense");
}

/** Buffers that transformers of that time kept in checkpoints. */
function causalMask(attention: string, { positions }: Gpt2Config): TensorSource[] {
  const mask = new Uint8Array(positions * positions);
  for (let row = 0; row < positions; row++) mask.fill(1, row * positions, row * positions + row + 1);
  return [
    { name: `${attention}.bias`, dtype: "U8", shape: [1, 1, positions, positions], data: mask },
    { name: `${attention}.masked_bias`, dtype: "F32", shape: [], data: Float32Array.of(-1e4) },
  ];
}
