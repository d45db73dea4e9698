// PyTorch checkpoints, read and imported. The one door of this folder: what is not listed here is its own business.

export { CheckpointError } from "./errors.ts";
export {
  HYPERPARAMETERS_FILE,
  type ImportEvent,
  type ImportOptions,
  type ImportSummary,
  importCheckpoint,
  outputsIn,
  writeRest,
} from "./import.ts";
export type { Json } from "./json.ts";
export { type Checkpoint, openCheckpoint } from "./open.ts";
export { isOldWeights, OLD_INDEX_FILE, OLD_SINGLE_FILE, openOldWeights } from "./weights.ts";
