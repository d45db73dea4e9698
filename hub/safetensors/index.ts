// The public functions of this folder: reading and writing safetensors files (github.com/huggingface/safetensors).

export {
  fromFloat32,
  toFloat32,
  toFloat64,
} from "./convert.ts";
export { scanJson } from "./header.ts";
export { int8Sources, withoutInt8 } from "./int8.ts";
export {
  openSafetensors,
  openSafetensorsSource,
  renameTensors,
  type SafetensorsFile,
} from "./read.ts";
export { INDEX_FILE, openSharded, openTensors, type ShardedFile, type ShardFormat, SINGLE_FILE } from "./shards.ts";
export {
  bitsOf,
  DTYPES,
  type Dtype,
  type FileDtype,
  SafetensorsError,
  type StoredTensor,
  type TensorFile,
  type TensorInfo,
  viewTensor,
} from "./types.ts";
export type { Metadata, TensorSource } from "./write.ts";
export { stageSafetensors, type WriteProgress, writeSafetensors } from "./write.ts";
export {
  MAX_SHARD_BYTES,
  type ModelStaged,
  type ModelWritten,
  otherModelFiles,
  stageModel,
  type WriteModelOptions,
  writeModel,
} from "./write-shards.ts";
