// Import of files that are no model folders, bare weights and GGUF: the public surface of this folder.

export { HeadsUnknown } from "../../architectures/parts/checkpoint.ts";
export { HeadProblem } from "./heads.ts";
export { type ImportedGguf, type ImportGgufEvent, type ImportGgufOptions, importGguf } from "./import-gguf.ts";
export {
  type ImportWeightsEvent,
  type ImportWeightsOptions,
  importWeights,
  isSafetensors,
  recognizeFile,
} from "./import-weights.ts";
export type { Assumed, Recognized, WeightsOptions } from "./recognize.ts";
