// Checks a model before it is used, by all rules of docs/format.md that do not depend on the architecture: first
// headers, then indices and widths. Factors and values can be any numbers and are not read.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { eachOf } from "../request/emitting.ts";
import { findLayers, type ModelLayers } from "./find-layers.ts";
import { type OpenModel, openModel, TRAINABLE_FILE } from "./open-model.ts";
import { openTrainable } from "./open-trainable.ts";

/** Layers read at the same time from a model on the Hub. */
const CONNECTIONS = 8;

/**
 * Checks a model folder against the rules of docs/format.md.
 * @returns its layers; values that were read are kept
 * @throws ModelError with a message of one line that names the tensor, or the field of config.json, and the rule
 */
export async function checkModel(model: OpenModel): Promise<ModelLayers> {
  const found = findLayers(model);
  await eachOf(found.layers, { connections: CONNECTIONS }, (layer) => layer.check());
  return found;
}

/**
 * Checks both forms of a local model folder.
 * @throws errors of checkModel and openModel
 */
export async function checkModelFolder(folder: string): Promise<void> {
  const hasTrainable = (await stat(join(folder, TRAINABLE_FILE)).catch(() => undefined)) !== undefined;
  for (const open of hasTrainable ? [openModel, openTrainable] : [openModel]) {
    const model = await open(folder);
    try {
      await checkModel(model);
    } finally {
      await model.tensors.close();
    }
  }
}
