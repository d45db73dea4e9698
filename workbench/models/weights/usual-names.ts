// Names of tensors in the memory of a program that are not those of its checkpoints, as a saved state_dict has them.

import { renameTensors, type TensorFile } from "../../../hub/safetensors/index.ts";
import { nameTable } from "../../architectures/parts/name-table.ts";

/** The same tensors under the names of checkpoints; a vision transformer of torchvision's under timm's. */
export function usualNames(file: TensorFile): TensorFile {
  const toOurs = isTorchvisionVit(file) ? TORCHVISION_VIT.toOurs : FROM_5.toOurs;
  return loneHead(renameTensors(file, (name) => toOurs(name) ?? name));
}

/** ResNets have the same names in both libraries; vision transformers have not. */
export const isTorchvisionVit = ({ tensors }: TensorFile): boolean =>
  tensors.has("class_token") && tensors.has("conv_proj.weight");

const LAYER = "encoder.layers.encoder_layer_#";

const TORCHVISION_VIT = nameTable([
  ["cls_token", "class_token"],
  ["pos_embed", "encoder.pos_embedding"],
  ["patch_embed.proj", "conv_proj"],
  ["blocks.#.norm1", `${LAYER}.ln_1`],
  ["blocks.#.attn.qkv.weight", `${LAYER}.self_attention.in_proj_weight`],
  ["blocks.#.attn.qkv.bias", `${LAYER}.self_attention.in_proj_bias`],
  ["blocks.#.attn.proj", `${LAYER}.self_attention.out_proj`],
  ["blocks.#.norm2", `${LAYER}.ln_2`],
  ["blocks.#.mlp.fc1", `${LAYER}.mlp.0`],
  ["blocks.#.mlp.fc2", `${LAYER}.mlp.3`],
  // As before torchvision 0.12, in the weights that it still downloads.
  ["blocks.#.mlp.fc1", `${LAYER}.mlp.linear_1`],
  ["blocks.#.mlp.fc2", `${LAYER}.mlp.linear_2`],
  ["norm", "encoder.ln"],
  ["head", "heads.head"],
  // A head of one's own in the place of them all.
  ["head", "heads"],
]);

/** transformers 5 calls a ViT's layers otherwise than the files that it writes and reads. */
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

const NUMBERED_HEAD = /^(fc|head|classifier)\.\d+(?=\.(weight|bias)$)/;

/**
 * A head in a torch.nn.Sequential, with dropout before it: `fc.1.weight` is `fc.weight` where no other layer of the head has
 * parameters. Hugging Face's ResNet has its head so by itself.
 */
function loneHead(file: TensorFile): TensorFile {
  const names = [...file.tensors.keys()].filter((name) => /^(fc|head|classifier)\./.test(name));
  const layers = new Set(names.map((name) => name.replace(/\.[^.]*$/, "")));
  const [layer = ""] = layers;
  if (layers.size !== 1 || layer === "classifier.1" || !NUMBERED_HEAD.test(`${layer}.weight`)) return file;
  return renameTensors(file, (name) => name.replace(NUMBERED_HEAD, "$1"));
}
