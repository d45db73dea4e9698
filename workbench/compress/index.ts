// Turns a dense model into a structured one: plan, calibrate, convert, and back. The one door of this folder.

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
  ALLOCATIONS,
  type Allocation,
  CONVOLUTIONS,
  type ConversionPlan,
  type Convolutions,
  type PlannedLayer,
  type PlanTotals,
} from "./conversion-plan.ts";
export {
  type Conversion,
  type ConvertEvent,
  type ConvertedLayer,
  type ConvertOptions,
  convert,
  takeApart,
} from "./convert.ts";
export { Decompositions } from "./decompositions.ts";
export { exportDense } from "./export-dense.ts";
export { referenceTensors } from "./export-reference.ts";
export { chooseLayers } from "./layer-pattern.ts";
export { expectDense, type PlanOptions, planConversion } from "./plan.ts";
export { expectInit, INITS, type Init } from "./start-layer.ts";
