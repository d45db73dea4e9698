// Opens a model folder to train on: its tensors with those of trainable.safetensors in place of the packed ones. Two
// files seen as one; what else model.safetensors holds comes from there.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, type TensorFile } from "../safetensors/index.ts";
import { type OpenModel, openModel, TRAINABLE_FILE } from "./open-model.ts";

/** Close its tensors. A folder without trainable.safetensors opens as it is. @throws as openModel */
export async function openTrainable(folder: string): Promise<OpenModel> {
  const model = await openModel(folder);
  const path = join(folder, TRAINABLE_FILE);
  try {
    if (model.path === path || !(await stat(path).catch(() => undefined))) return model;
    return { ...model, tensors: overlaid(model.tensors, await openSafetensors(path)) };
  } catch (error) {
    await model.tensors.close();
    throw error;
  }
}

const PACKED = /\.(spans|values_in|values_out)$/;

function overlaid(below: TensorFile, above: TensorFile): TensorFile {
  const replaced = (name: string) => PACKED.test(name) && above.tensors.has(name.replace(PACKED, ".lr_weight1"));
  const kept = [...below.tensors].filter(([name]) => !replaced(name));
  const fileOf = (name: string) => (above.tensors.has(name) ? above : below);
  return {
    tensors: new Map([...kept, ...above.tensors]),
    read: (name) => fileOf(name).read(name),
    chunks: (name) => fileOf(name).chunks(name),
    close: async () => {
      await Promise.all([below.close(), above.close()]);
    },
  };
}
