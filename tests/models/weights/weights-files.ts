// Files of weights alone, made from the tensors of a model, and their import.

import { writeFileSync } from "node:fs";
import path from "node:path";
import type { StoredTensor } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { type Model, saveModelNow } from "../../../workbench/models/index.ts";
import { type ImportWeightsOptions, importWeights, type Recognized } from "../../../workbench/models/weights/index.ts";
import { push } from "../../hub/checkpoint/build.ts";
import { checkpointOf } from "../tiny-checkpoint.ts";

export type Tensors = Map<string, StoredTensor>;

export interface WrittenOptions {
  /** changes names and tensors. Default: as they are */
  change?: (tensors: Tensors) => Tensors;
  /** the hyper-parameters beside the tensors, pickled. Default: none */
  hyper?: Uint8Array;
}

/** Saves a model to `source` in the folder, and writes its tensors to `weights.pth` there as a trainer would. @returns the file */
export async function writtenWeights(
  model: Model,
  folder: string,
  { change = (tensors) => tensors, hyper = push.dict({}) }: WrittenOptions = {},
): Promise<string> {
  const [source, file] = [path.join(folder, "source"), path.join(folder, "weights.pth")];
  await saveModelNow(model, source);
  const tensors = change(await readSafetensors(path.join(source, "model.safetensors")));
  writeFileSync(file, checkpointOf(tensors, hyper));
  return file;
}

/** Imports a file of weights as the folder `out`. */
export async function importedTo(
  out: string,
  file: string,
  options: Omit<ImportWeightsOptions, "out"> = {},
): Promise<Recognized> {
  for await (const event of importWeights(file, { ...options, out })) {
    if (event.kind === "imported") return event.model;
  }
  throw new Error("the import ended early");
}
