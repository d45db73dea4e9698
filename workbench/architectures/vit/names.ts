// Translates between namings of a vision transformer's parameters. The workbench uses timm's names, with separate
// layers for queries, keys and values. The other namings are Hugging Face's, torchvision's, and that of transformers 5
// in memory.

import type { OtherNames } from "../architecture.ts";
import { TORCHVISION } from "../parts/image-terms.ts";
import { nameTable, timmOrTransformersNames } from "../parts/name-table.ts";

/** Prefix of all of Hugging Face's names but the head's. */
const TRANSFORMERS_PREFIX = "vit.";

const LAYER = "vit.encoder.layer.#";

const TABLE = nameTable([
  ["cls_token", "vit.embeddings.cls_token"],
  ["pos_embed", "vit.embeddings.position_embeddings"],
  ["patch_embed.proj", "vit.embeddings.patch_embeddings.projection"],
  ["blocks.#.norm1", `${LAYER}.layernorm_before`],
  ["blocks.#.attn.q_proj", `${LAYER}.attention.attention.query`],
  ["blocks.#.attn.k_proj", `${LAYER}.attention.attention.key`],
  ["blocks.#.attn.v_proj", `${LAYER}.attention.attention.value`],
  ["blocks.#.attn.proj", `${LAYER}.attention.output.dense`],
  ["blocks.#.norm2", `${LAYER}.layernorm_after`],
  ["blocks.#.mlp.fc1", `${LAYER}.intermediate.dense`],
  ["blocks.#.mlp.fc2", `${LAYER}.output.dense`],
  ["norm", "vit.layernorm"],
  ["head", "classifier"],
]);

export const NAMES = timmOrTransformersNames(TABLE, TRANSFORMERS_PREFIX);

/** timm stores queries, keys and values in one matrix, in this order. */
export const PACKED_PARTS = ["q_proj", "k_proj", "v_proj"] as const;

const TORCHVISION_LAYER = "encoder.layers.encoder_layer_#";

const TORCHVISION_NAMES = nameTable([
  ["cls_token", "class_token"],
  ["pos_embed", "encoder.pos_embedding"],
  ["patch_embed.proj", "conv_proj"],
  ["blocks.#.norm1", `${TORCHVISION_LAYER}.ln_1`],
  ["blocks.#.attn.qkv.weight", `${TORCHVISION_LAYER}.self_attention.in_proj_weight`],
  ["blocks.#.attn.qkv.bias", `${TORCHVISION_LAYER}.self_attention.in_proj_bias`],
  ["blocks.#.attn.proj", `${TORCHVISION_LAYER}.self_attention.out_proj`],
  ["blocks.#.norm2", `${TORCHVISION_LAYER}.ln_2`],
  ["blocks.#.mlp.fc1", `${TORCHVISION_LAYER}.mlp.0`],
  ["blocks.#.mlp.fc2", `${TORCHVISION_LAYER}.mlp.3`],
  // Names before torchvision 0.12. The weights that torchvision downloads still have them.
  ["blocks.#.mlp.fc1", `${TORCHVISION_LAYER}.mlp.linear_1`],
  ["blocks.#.mlp.fc2", `${TORCHVISION_LAYER}.mlp.linear_2`],
  ["norm", "encoder.ln"],
  ["head", "heads.head"],
  // A linear layer with which users replace `heads` for other classes.
  ["head", "heads"],
]);

/** The names of transformers 5 in memory, which differ from those in the files that it writes and reads. */
const FROM_5 = nameTable(
  ["vit.", ""].flatMap((prefix) => {
    const [memory, file] = [`${prefix}layers.#`, `${prefix}encoder.layer.#`];
    return [
      [`${file}.attention.attention.query`, `${memory}.attention.q_proj`],
      [`${file}.attention.attention.key`, `${memory}.attention.k_proj`],
      [`${file}.attention.attention.value`, `${memory}.attention.v_proj`],
      [`${file}.attention.output.dense`, `${memory}.attention.o_proj`],
      [`${file}.intermediate.dense`, `${memory}.mlp.fc1`],
      [`${file}.output.dense`, `${memory}.mlp.fc2`],
      [`${file}.layernorm_before`, `${memory}.layernorm_before`],
      [`${file}.layernorm_after`, `${memory}.layernorm_after`],
    ] as const;
  }),
);

/** Namings that occur in state_dicts but not in published checkpoints. */
export const OTHER_NAMES: readonly OtherNames[] = [
  {
    isUsedBy: (tensors) => tensors.has("class_token") && tensors.has("conv_proj.weight"),
    toCheckpoint: TORCHVISION_NAMES.toOurs,
    preparation: TORCHVISION,
  },
  {
    isUsedBy: (tensors) => [...tensors.keys()].some((name) => FROM_5.toOurs(name) !== undefined),
    toCheckpoint: FROM_5.toOurs,
  },
];
