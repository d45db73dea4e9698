// The entry point `gblr` of the npm package: models, their structures and their conversion, data, evaluation and
// training. docs/package.md has examples. The other entry points are `gblr/engine`, `gblr/hub` and `gblr/recipes`. What
// these four files export is the public interface of the package; all else is internal.

// structures
export type { StoredStructure } from "../hub/model-folder/index.ts";

// models
export type { Architecture } from "../workbench/architectures/architecture.ts";
// parts of architectures and structures of one's own: docs/add-an-architecture.md, docs/add-a-structure.md
export {
  batchNormModule,
  convolutionLayer,
  headLayer,
  layerNormModule,
  linearLayer,
  type Module,
  normal,
  ONES,
  parameter,
  patchEmbedding,
  rmsNormModule,
  type Start,
  uniform,
  ZEROS,
} from "../workbench/architectures/network.ts";
export { languageLogits } from "../workbench/architectures/parts/language-model.ts";
export { registerArchitecture } from "../workbench/architectures/registry.ts";
export type { LanguageOptions, LanguageTask, LayerSource } from "../workbench/architectures/task.ts";
// conversion
export {
  ALLOCATIONS,
  type Allocation,
  type CalibrateEvent,
  type CalibrateOptions,
  type ConversionPlan,
  type ConvertEvent,
  type ConvertOptions,
  type Covariances,
  calibrate,
  convert,
  exportDense,
  INITS,
  type Init,
  type PlanOptions,
  planConversion,
  type WindowSource,
  windowInputs,
} from "../workbench/compress/index.ts";
// data
export {
  type ImageLoader,
  type ImageLoaderOptions,
  type ImageSet,
  type ImagesEvent,
  imageLoader,
  type OpenImagesOptions,
  openImages,
} from "../workbench/data/images/index.ts";
export {
  type ChatMessage,
  type ChatTemplate,
  DataError,
  openChatTemplate,
  openTextTokens,
  openTokenizer,
  type TextWindows,
  type TokenFile,
  type TokenizeEvent,
  type Tokenizer,
  tokenWindows,
} from "../workbench/data/index.ts";
// engines, as in `gblr/engine`, which has the operations too
export { type Engine, EngineError, type OpenEngineOptions, openEngine, ShapeError } from "../workbench/engine/index.ts";
// evaluation and training
export { type Accuracy, type AccuracyEvent, type AccuracyOptions, accuracy } from "../workbench/evaluate/accuracy.ts";
export {
  type Perplexity,
  type PerplexityEvent,
  type PerplexityOptions,
  perplexity,
} from "../workbench/evaluate/perplexity.ts";
export { exportOnnx, type OnnxOptions } from "../workbench/export/onnx/index.ts";
export { copyModel } from "../workbench/models/create.ts";
export { loadModelNow } from "../workbench/models/folder/load.ts";
export {
  ARCHITECTURES,
  architectureOf,
  classifierLogits,
  createModel,
  denseWeight,
  FILE_TYPES,
  type FileType,
  forInference,
  type GenerateEvent,
  type GenerateOptions,
  generateTokens,
  type ImageSettings,
  imageSettings,
  isClassifier,
  isLanguageModel,
  type LayerInfo,
  type LoadEvent,
  type LoadOptions,
  languageLoss,
  languageNll,
  languageSizes,
  loadModel,
  Model,
  modelCounts,
  type NewHead,
  replaceLayer,
  type SamplingSettings,
  type SaveEvent,
  type SaveOptions,
  saveModel,
  saveModelNow,
  WEIGHT_TYPES,
  type WeightType,
} from "../workbench/models/index.ts";
export {
  type ImportGgufEvent,
  type ImportGgufOptions,
  type ImportWeightsEvent,
  type ImportWeightsOptions,
  importGguf,
  importWeights,
} from "../workbench/models/weights/index.ts";
export { openGenerator, type TextGenerator } from "../workbench/pipeline/generate.ts";
// serving
export {
  type NamedGenerator,
  type RunningServer,
  ServeError,
  type ServeOptions,
  serveModels,
} from "../workbench/serve/index.ts";
export { allowance, expectPaid, type MatrixSize } from "../workbench/structures/budget.ts";
export { defineStructure } from "../workbench/structures/define.ts";
export { refittedToOutputs } from "../workbench/structures/fit/activation-start.ts";
export { lowrank } from "../workbench/structures/lowrank.ts";
export { registerStructure, structureNamed, structures } from "../workbench/structures/registry.ts";
export type { Structure, StructureKind, StructureParameters } from "../workbench/structures/structure.ts";
export {
  type FitEvent,
  type FitOptions,
  fit,
  type ImageTaskOptions,
  imageTask,
  type LanguageTaskOptions,
  type LoraOptions,
  languageTask,
  type Task,
} from "../workbench/train/index.ts";
