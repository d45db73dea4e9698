// Model folders on the disk: what layers they hold, without their values. The one door of this folder.

export { ModelError } from "./errors.ts";
export { findLayers, inOrder, type ModelLayers } from "./find-layers.ts";
export type { GblrConfig, LayerConfig } from "./gblr-config.ts";
export { CONFIG_FILE, type OpenModel, openModel, TRAINABLE_FILE } from "./open-model.ts";
export { openRemoteModel } from "./open-remote.ts";
export { openTrainable } from "./open-trainable.ts";
export { finishReplacing, replaceFiles } from "./replace-files.ts";
export type { DenseLayer, FactoredLayer, PackedLayer, StoredLayer, TrainableLayer } from "./stored-layer.ts";
export { unwrapModel, unwrapTensors, wrapperOf } from "./wrappers.ts";
