// Model folders: what layers they hold, without their values, and the rules that they must keep. The one door of this folder.

export { checkModel, checkModelFolder } from "./check-model.ts";
export { ModelError } from "./errors.ts";
export { findLayers, inOrder, type ModelLayers } from "./find-layers.ts";
export { FORMAT, type GblrConfig, type LayerConfig } from "./gblr-config.ts";
export { CONFIG_FILE, type OpenModel, openModel, readConfigText, TRAINABLE_FILE } from "./open-model.ts";
export { openRemoteModel } from "./open-remote.ts";
export { openTrainable } from "./open-trainable.ts";
export { finishReplacing, replaceFiles } from "./replace-files.ts";
export type { DenseLayer, FactoredLayer, PackedLayer, StoredLayer, TrainableLayer } from "./stored-layer.ts";
export { MOST_VALUES } from "./structure-rules.ts";
export { unwrapModel, unwrapTensors, wrapperOf } from "./wrappers.ts";
