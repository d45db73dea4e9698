// The entry point `gblr/hub` of the npm package: files and the Hugging Face Hub without tensors and engines. Pull, push, a
// local Hub, safetensors, PyTorch checkpoints, GGUF, model folders and cards.

export { HubError } from "../hub/access/hub-error.ts";
export {
  formatRepoName,
  type HubAccess,
  parseRepoName,
  type RepoName,
  RepoNameError,
  type RepoType,
} from "../hub/access/repository.ts";
export {
  type BaseMetadata,
  type CardFacts,
  frontMatter,
  modelCard,
  parseCardMetadata,
} from "../hub/card/index.ts";
export {
  type Checkpoint,
  CheckpointError,
  type ImportEvent,
  type ImportOptions,
  importCheckpoint,
  openCheckpoint,
} from "../hub/checkpoint/index.ts";
export { GgufError, isGguf, type OpenGguf, openGguf } from "../hub/gguf/index.ts";
export {
  checkModel,
  checkModelFolder,
  findLayers,
  type GblrConfig,
  type LayerConfig,
  ModelError,
  type ModelLayers,
  type OpenModel,
  openModel,
  openRemoteModel,
  openTrainable,
  type StoredStructure,
} from "../hub/model-folder/index.ts";
export { type PullEvent, type Pulled, type PullOptions, pull } from "../hub/pull/index.ts";
export { type PushEvent, type PushOptions, push } from "../hub/push/index.ts";
export {
  type Dtype,
  openSafetensors,
  openTensors,
  type SafetensorsFile,
  type StoredTensor,
  type TensorFile,
  type TensorInfo,
  type TensorSource,
  toFloat32,
  toFloat64,
  writeModel,
  writeSafetensors,
} from "../hub/safetensors/index.ts";
export { HubServeError, type ServedHub, type ServeOptions, serveHub } from "../hub/serve/index.ts";
