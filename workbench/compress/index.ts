// Turns a dense model into a structured one: plan, calibrate, convert, and back. The one door of this folder.

export { INITS, type Init } from "../structures/structure.ts";
export {
  type CalibrateEvent,
  type CalibrateOptions,
  type Covariances,
  calibrate,
  type WindowInputsOptions,
  type WindowSource,
  windowInputs,
} from "./calibrate.ts";
export {
  type Conversion,
  type ConvertEvent,
  type ConvertedLayer,
  type ConvertOptions,
  convert,
  expectInit,
  takeApart,
} from "./convert.ts";
export { Decompositions } from "./decompositions.ts";
export { exportDense, referenceTensors } from "./export.ts";
export {
  ALLOCATIONS,
  type Allocation,
  CONVOLUTIONS,
  type ConversionPlan,
  type Convolutions,
  chooseLayers,
  expectDense,
  type PlannedLayer,
  type PlanOptions,
  type PlanTotals,
  planConversion,
} from "./plan.ts";
