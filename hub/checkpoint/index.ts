// PyTorch checkpoints, read and imported. The one door of this folder: what is not listed here is its own business.

export {
  type Checkpoint,
  CheckpointError,
  isOldWeights,
  OLD_INDEX_FILE,
  OLD_SINGLE_FILE,
  openCheckpoint,
  openOldWeights,
} from "./checkpoint.ts";
export type { Json } from "./contents.ts";
export {
  HYPERPARAMETERS_FILE,
  type ImportEvent,
  type ImportOptions,
  type ImportSummary,
  importCheckpoint,
  outputsIn,
  writeRest,
} from "./import.ts";
