// Models: loaded, made, run, changed and saved. What other folders use of models and of their architectures.

export {
  type Architecture,
  countModel,
  layersOf,
  type OtherNames,
  PLAIN_NAMES,
  parametersOf,
  type TensorNames,
  type WeightsReader,
} from "../architectures/architecture.ts";
export { type CountKind, rowsOf } from "../architectures/count.ts";
export { gpt2 } from "../architectures/gpt2/architecture.ts";
export type { Gpt2Config } from "../architectures/gpt2/config.ts";
export { mixer } from "../architectures/mixer/architecture.ts";
export type { MixerConfig } from "../architectures/mixer/config.ts";
export { type ConvolutionInfo, type LayerInfo, type ParameterInfo, positionLayers } from "../architectures/network.ts";
export { type CacheOptions, type KeyValueCache, keyValueCache } from "../architectures/parts/cache.ts";
export { classifierLogits } from "../architectures/parts/classifier.ts";
export { type GenerateEvent, type GenerateOptions, generateTokens } from "../architectures/parts/generate.ts";
export { CROP_MODES, type CropMode, type ImageSettings, INTERPOLATIONS } from "../architectures/parts/image-terms.ts";
export {
  headOf,
  type LanguageLossOptions,
  languageHidden,
  languageLogits,
  languageLoss,
  languageNll,
  languageSizes,
} from "../architectures/parts/language-model.ts";
export {
  ARCHITECTURES,
  architectureInTimm,
  architectureOf,
  architectureOfConfig,
  registerArchitecture,
} from "../architectures/registry.ts";
export { resnet } from "../architectures/resnet/architecture.ts";
export type { ResnetConfig } from "../architectures/resnet/config.ts";
export {
  type ClassifierOptions,
  isClassifier,
  isLanguageModel,
  type LanguageOptions,
  type LayerSource,
} from "../architectures/task.ts";
export { vit } from "../architectures/vit/architecture.ts";
export type { VitConfig } from "../architectures/vit/config.ts";
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
export { resizePositions } from "./images/resize-positions.ts";
export { forInference, type InferenceOptions } from "./inference.ts";
export { denseWeight, replaceLayer } from "./layers.ts";
export { type LinearLayer, Model } from "./model.ts";
export { joinConvolution, splitConvolution } from "./positions.ts";
