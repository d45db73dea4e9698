// Files of weights alone, made into model folders. The one door of this folder.

export { HeadsUnknown } from "../reference/index.ts";
export {
  type ImportWeightsEvent,
  type ImportWeightsOptions,
  importWeights,
  isSafetensors,
  recognizeFile,
} from "./import-weights.ts";
export type { Assumed, Recognized, WeightsOptions } from "./recognize.ts";
