// Names of tensors in the memory of a program that are not those of its checkpoints, as a saved state_dict has them.

import { renameTensors, type TensorFile } from "../../../hub/safetensors/index.ts";
import { nameTable } from "../name-table.ts";

/** The same tensors under the names of checkpoints. */
export const usualNames = (file: TensorFile): TensorFile => loneHead(renameTensors(file, checkpointName));

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

/** transformers 5 calls a ViT's layers otherwise than the files that it writes and reads. */
const checkpointName = (name: string): string => FROM_5.toOurs(name) ?? name;

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
