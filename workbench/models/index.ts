// Models: loaded, made, run, changed and saved. The one door of this folder.

export type { Architecture } from "../architectures/architecture.ts";
export { layersOf, parametersOf } from "../architectures/architecture.ts";
export { type CountKind, rowsOf } from "../architectures/count.ts";
export { gpt2 } from "../architectures/gpt2/architecture.ts";
export type { Gpt2Config } from "../architectures/gpt2/config.ts";
export { type Gpt2, type Gpt2Options, gpt2Hidden, gpt2Logits, headOf } from "../architectures/gpt2/forward.ts";
export { mixer } from "../architectures/mixer/architecture.ts";
export type { MixerConfig } from "../architectures/mixer/config.ts";
export type { ConvolutionInfo, LayerInfo, ParameterInfo } from "../architectures/network.ts";
export { positionLayers } from "../architectures/network.ts";
export { type CacheOptions, type KeyValueCache, keyValueCache } from "../architectures/parts/cache.ts";
export { type ClassifierOptions, classifierLogits, isClassifier } from "../architectures/parts/classifier.ts";
export { type GenerateEvent, type GenerateOptions, gpt2Generate } from "../architectures/parts/generate.ts";
export { CROP_MODES, type CropMode, type ImageSettings, INTERPOLATIONS } from "../architectures/parts/image-terms.ts";
export { type Gpt2LossOptions, gpt2Loss, gpt2Nll } from "../architectures/parts/language-model.ts";
export { resizePositions } from "../architectures/parts/positions.ts";
export { ARCHITECTURES, architectureOf, architectureOfConfig } from "../architectures/registry.ts";
export { resnet } from "../architectures/resnet/architecture.ts";
export type { ResnetConfig } from "../architectures/resnet/config.ts";
export { vit } from "../architectures/vit/architecture.ts";
export type { VitConfig } from "../architectures/vit/config.ts";
export { matrixOfPosition } from "./convolution.ts";
export { countsWith, layerCosts, modelCounts } from "./counts.ts";
export { type CreateOptions, createModel } from "./create.ts";
export { endOfTextIn } from "./folder/generation-config.ts";
export { type LoadEvent, type LoadOptions, loadModel, loadModelNow } from "./folder/load.ts";
export { FILE_TYPES, type FileType, type SaveOptions, saveModel, saveModelNow } from "./folder/save.ts";
export { storedConfig } from "./folder/stored-config.ts";
export {
  COMPANION_FILES,
  type FolderContent,
  prepareFolder,
  type SaveEvent,
  writeModelFolder,
} from "./folder/write-folder.ts";
export { imageSettings } from "./images/image-settings.ts";
export type { NewHead } from "./images/new-head.ts";
export type { Preparation } from "./images/preparation.ts";
export { forInference, type InferenceOptions } from "./inference.ts";
export { denseWeight, replaceLayer } from "./layers.ts";
export { type LinearLayer, Model } from "./model.ts";
export { joinConvolution, splitConvolution } from "./positions.ts";
