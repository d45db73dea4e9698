// Converts dense models to structured ones and back: plan, calibrate, convert, export. The public surface of this
// folder.

export { INIT_KINDS, INITS, type Init, needsCalibration } from "../structures/structure.ts";
export { plannedWeight } from "./allocate.ts";
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
} from "./convert.ts";
export { Decompositions } from "./decompositions.ts";
export { exportDense, referenceTensors } from "./export.ts";
export { FinishedLayers } from "./finished-layers.ts";
export {
  ALLOCATIONS,
  type Allocation,
  CONVOLUTIONS,
  type ConversionPlan,
  type Convolutions,
  chooseLayers,
  expectDense,
  layersToConvert,
  type PlannedLayer,
  type PlanOptions,
  type PlanTotals,
  planConversion,
  takeApart,
  totalsOf,
} from "./plan.ts";
export {
  type InputPowers,
  type InputPowersEvent,
  type InputPowersOptions,
  inputPowers,
  ORDERS,
  type OrderKind,
  type OrderScore,
  orderNamed,
  type ReorderEvent,
  type ReorderedUnits,
  type ReorderOptions,
  reorderModel,
  SYMMETRY_KINDS,
  type Symmetry,
  type SymmetryKind,
  type Units,
} from "./reorder/index.ts";
export { type Sensitivity, type SensitivityEvent, sensitivities } from "./sensitivity.ts";
export { SequentialCalibration, type SequentialProgress } from "./sequential.ts";
export { cutModel, type SizesRecord, sizesRecord, withoutSizes } from "./sizes/cut.ts";
