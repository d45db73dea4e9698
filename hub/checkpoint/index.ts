// The public functions of this folder: reading PyTorch checkpoints and importing them as model folders.

export {
  type Checkpoint,
  isOldWeights,
  OLD_INDEX_FILE,
  OLD_SINGLE_FILE,
  openCheckpoint,
  openOldWeights,
} from "./checkpoint.ts";
export { CheckpointError, type Json } from "./contents.ts";
export {
  type ImportEvent,
  type ImportOptions,
  type ImportSummary,
  importCheckpoint,
  outputsIn,
  writeRest,
} from "./import.ts";
