// Files of weights alone, made into model folders: what other folders use of it.

export { HeadsUnknown } from "../../architectures/parts/checkpoint.ts";
export {
  type ImportWeightsEvent,
  type ImportWeightsOptions,
  importWeights,
  isSafetensors,
  recognizeFile,
} from "./import-weights.ts";
export type { Assumed, Recognized, WeightsOptions } from "./recognize.ts";
