// Model folders: the layers that they store, without values, and the rules of docs/format.md. The public surface of
// this folder.

export { checkModel, checkModelFolder } from "./check-model.ts";
export { findLayers, type ModelLayers } from "./find-layers.ts";
export { FORMAT, type GblrConfig, HALF_FORMAT, INT8_FORMAT, type LayerConfig } from "./gblr-config.ts";
export { PACKED_PARTS } from "./gblr-layer.ts";
export { ModelError } from "./layer-tensors.ts";
export { CONFIG_FILE, type OpenModel, openModel, readConfigText, TRAINABLE_FILE } from "./open-model.ts";
export { openRemoteModel } from "./open-remote.ts";
export { openTrainable } from "./open-trainable.ts";
export { finishReplacing, REORDER_FILE, replaceFiles } from "./replace-files.ts";
export { SIZES_VERSION, type SizesRecord, sizesOf } from "./sizes.ts";
export type { StoredLayer } from "./stored-layer.ts";
export {
  isDense,
  MOST_VALUES,
  registerStoredStructure,
  STORED_BLAST,
  STORED_BLOCK_LOW_RANK,
  STORED_BLOCK_SPARSE,
  STORED_BTT,
  STORED_DENSE,
  STORED_GBLR,
  STORED_LOW_RANK,
  STORED_MONARCH,
  STORED_PIFA,
  STORED_SEMI_STRUCTURED,
  STORED_TUCKER,
  STORED_UNSTRUCTURED,
  type StoredStructure,
  storedStructure,
  storedStructures,
  structureTitle,
} from "./structures.ts";
export { unwrapModel, wrapperOf } from "./wrappers.ts";
