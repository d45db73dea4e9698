// Safetensors files, read and written. The one door of this folder: what is not listed here is its own business.

export { fromFloat32, toFloat32, toFloat64 } from "./convert.ts";
export { SafetensorsError } from "./errors.ts";
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "./half.ts";
export { scanJson } from "./json-scan.ts";
export type { Metadata, TensorSource } from "./layout.ts";
export { openTensors } from "./open.ts";
export {
  openSafetensors,
  openSafetensorsBytes,
  openSafetensorsSource,
  readAll,
  readSafetensors,
  type SafetensorsFile,
} from "./read.ts";
export { renameTensors } from "./rename.ts";
export { INDEX_FILE, openSharded, type ShardedFile, type ShardFormat, SINGLE_FILE } from "./shards.ts";
export {
  bitsOf,
  DTYPES,
  type Dtype,
  type FileDtype,
  type StoredTensor,
  type TensorFile,
  type TensorInfo,
} from "./types.ts";
export { encodeSafetensors, sourcesOf, stageSafetensors, type WriteProgress, writeSafetensors } from "./write.ts";
export {
  MAX_SHARD_BYTES,
  type ModelStaged,
  type ModelWritten,
  otherModelFiles,
  stageModel,
  type WriteModelOptions,
  writeModel,
} from "./write-shards.ts";
