// What the parameters of a vision transformer are called: ours, which are timm's with queries, keys and values apart,
// and Hugging Face's.

import { nameTable, transformersNames } from "../parts/name-table.ts";

/** Before all names of Hugging Face's but the head's. */
export const TRANSFORMERS_PREFIX = "vit.";

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

export const { storedName, parameterName } = transformersNames(TABLE, TRANSFORMERS_PREFIX);

/** Queries, keys and values of timm's lie in one matrix, in this order. */
export const PACKED_PARTS = ["q_proj", "k_proj", "v_proj"] as const;
