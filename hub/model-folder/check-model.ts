// The gate that every model goes through before anything is computed, copied or drawn: all of docs/format.md that can be
// checked without knowing the architecture. Headers first, then the indices and widths that kernels would follow; the
// factors and values, which may be any numbers, are not read.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { eachOf } from "../request/emitting.ts";
import { findLayers, type ModelLayers } from "./find-layers.ts";
import { type OpenModel, openModel, TRAINABLE_FILE } from "./open-model.ts";
import { openTrainable } from "./open-trainable.ts";

/** Layers read at a time, for a model that is on the Hub. */
const CONNECTIONS = 8;

/**
 * Checks a model folder against the rules of docs/format.md.
 * @returns its layers; what has been read of them is not read again
 * @throws ModelError in one line that names the tensor, or the field of config.json, and the rule
 */
export async function checkModel(model: OpenModel): Promise<ModelLayers> {
  const found = findLayers(model);
  await eachOf(found.layers, { connections: CONNECTIONS }, (layer) => layer.check());
  return found;
}

/** A folder on the disk in both of its forms. @throws as checkModel and openModel */
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
