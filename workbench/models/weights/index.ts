// Import of weights without a config.json: the public surface of this folder.

export { HeadsUnknown } from "../../architectures/parts/checkpoint.ts";
export { HeadProblem } from "./heads.ts";
export {
  type ImportWeightsEvent,
  type ImportWeightsOptions,
  importWeights,
  isSafetensors,
  recognizeFile,
} from "./import-weights.ts";
export type { Assumed, Recognized, WeightsOptions } from "./recognize.ts";
