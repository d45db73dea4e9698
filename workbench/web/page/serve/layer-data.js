// What the server tells of the layers of a model: their costs, and where the blocks of each are.

import { readJson } from "../api.js";

/**
 * @typedef {import("./layout-raster.js").Blocks} Blocks
 * @typedef {object} Layer as /layers answers
 * @property {string} name
 * @property {string} structure
 * @property {number} n_in
 * @property {number} n_out
 * @property {number} share cost relative to the dense layer
 * @property {number | null} live_blocks
 * @property {number | null} all_blocks
 * @typedef {{ model: string, share: number, palette: string[], layers: Layer[] }} ModelLayers
 */

/**
 * The layers of a model.
 * @param {string} model @param {AbortSignal} signal
 * @returns {Promise<ModelLayers>}
 */
export const layersOf = (model, signal) => readJson(`/layers?${new URLSearchParams({ model })}`, signal);

/** @type {Map<string, Promise<Blocks>>} */
const known = new Map();

/** The blocks of a layer, asked for once. @param {string} model @param {string} layer @returns {Promise<Blocks>} */
export function blocksOf(model, layer) {
  const path = `/layers/blocks?${new URLSearchParams({ model, layer })}`;
  const found = known.get(path) ?? readJson(path);
  known.set(path, found);
  found.catch(() => known.delete(path));
  return found;
}
