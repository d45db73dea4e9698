// The public surface of models and architectures: loading, creating, running, changing and saving models.

export type { Architecture } from "../architectures/architecture.ts";
export { rowsOf } from "../architectures/count.ts";
export { gpt2 } from "../architectures/gpt2/architecture.ts";
export type { Gpt2Config } from "../architectures/gpt2/config.ts";
/** @public for models that are made in code */
export { llama } from "../architectures/llama/architecture.ts";
export type { LlamaConfig } from "../architectures/llama/config.ts";
export type { MixerConfig } from "../architectures/mixer/config.ts";
export { type ConvolutionInfo, type LayerInfo, positionLayers } from "../architectures/network.ts";
export { classifierLogits } from "../architectures/parts/classifier.ts";
export {
  type Draft,
  type DraftCounts,
  type GenerateEvent,
  type GenerateOptions,
  type GenerationSession,
  generateTokens,
  generationSession,
} from "../architectures/parts/generate.ts";
export { CROP_MODES, type CropMode, type ImageSettings, INTERPOLATIONS } from "../architectures/parts/image-terms.ts";
export {
  headOf,
  isFixed,
  languageHidden,
  languageLoss,
  languageNll,
  languageSizes,
  usualContext,
} from "../architectures/parts/language-model.ts";
export { type CachedSequence, PAGE, type PagedCache, pagedCache } from "../architectures/parts/paged-cache.ts";
export { NoTokenLeft, type TokenChooser, tokenChooser } from "../architectures/parts/sampling/choose.ts";
export { expectSampling, type SamplingSettings } from "../architectures/parts/sampling/settings.ts";
export {
  ARCHITECTURES,
  architectureInTimm,
  architectureOf,
  architectureOfConfig,
} from "../architectures/registry.ts";
export type { ResnetConfig } from "../architectures/resnet/config.ts";
export {
  isClassifier,
  isLanguageModel,
  type LanguageSizes,
} from "../architectures/task.ts";
export type { VitConfig } from "../architectures/vit/config.ts";
export { countsWith, linearParameters, modelCounts } from "./counts.ts";
export { createModel } from "./create.ts";
export { type GenerationConfig, generationConfigOf } from "./folder/generation-config.ts";
export { MOST_INT8_ERROR } from "./folder/int8-error.ts";
export { type LoadEvent, type LoadOptions, loadModel } from "./folder/load.ts";
export { WEIGHT_TYPES, type WeightType } from "./folder/read-parameters.ts";
export {
  FILE_TYPES,
  type FileType,
  layersKeptExact,
  type SavedType,
  type SaveOptions,
  saveModel,
  saveModelNow,
  storedConfig,
} from "./folder/save.ts";
export {
  COMPANION_FILES,
  MORE_TEMPLATE_FILES,
  prepareFolder,
  type SaveEvent,
  writeModelFolder,
} from "./folder/write-folder.ts";
export type { NewHead, Preparation } from "./images/adapt.ts";
export { resizePositions } from "./images/adapt.ts";
export { imageSettings } from "./images/image-settings.ts";
export { forInference } from "./inference.ts";
export { denseWeight, joinConvolution, replaceLayer, splitConvolution } from "./layers.ts";
export { Model } from "./model.ts";
