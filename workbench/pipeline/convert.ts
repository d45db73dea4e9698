// The convert stage of experiments and of `gblr convert`: plans a conversion, calibrates if data is given, and converts
// a model in memory. It writes no files.

import {
  type Allocation,
  type Conversion,
  type ConversionPlan,
  type Covariances,
  convert,
  Decompositions,
  type Init,
} from "../compress/index.ts";
import type { Model } from "../models/index.ts";
import type { CalibrationData } from "./domains/domain.ts";
import { CALIBRATION_BYTES, GroupedCovariances } from "./grouped-covariances.ts";
import { type Reordered, type ReorderRequest, reorder } from "./reorder.ts";
import type { PipelineEvent } from "./stage.ts";

/** The inputs of a plan that the convert stage determines. */
export interface PlanRequest {
  allocation: Allocation;
  /** stores the decompositions of the plan, which the conversion reuses */
  decompositions?: Decompositions;
  /** Σ by layer name, (n_in, n_in). With it, a global allocation minimizes output errors */
  covariances?: Covariances;
}

/** Options of `convertModel`. */
export interface ConvertStageOptions {
  /** plans the conversion; a global allocation needs the singular values of the layers */
  plan(request: PlanRequest): Promise<ConversionPlan>;
  allocation: Allocation;
  init: Init;
  /** seed of the search and of `uniform` locations */
  seed: number;
  /** optimizer steps of the search per layer */
  searchSteps: number;
  /** GBLR: rule for the initial locations. Default `linspace` */
  locations?: string;
  /** puts units in order before anything else. Default: they stay as they are */
  reorder?: ReorderRequest | undefined;
  /** data to calibrate on. The initialization `activation` needs it; with others, output errors are reported */
  calibration?: CalibrationData | undefined;
  /** most bytes of covariances at a time. If they are more, the model runs over the data several times. Default 4 GB */
  calibrationBytes?: number | undefined;
  signal: AbortSignal;
}

/** The result of the convert stage. */
export interface Converted {
  plan: ConversionPlan;
  conversion: Conversion;
  /** number of input rows of the calibration */
  rows?: number;
  /** the orders of units, if the model was reordered */
  reordered?: Reordered | undefined;
}

/**
 * Plans and converts a model. A `planned` event precedes the conversion.
 * @param model dense model, changed in place
 * @throws EngineError as `planConversion` and `convert` do; the signal's reason when it aborts
 */
export async function* convertModel(
  model: Model,
  options: ConvertStageOptions,
): AsyncGenerator<PipelineEvent, Converted> {
  const { allocation, init, seed, searchSteps, locations, calibration: data, signal } = options;
  const { calibrationBytes: bytes = CALIBRATION_BYTES } = options;
  // A global allocation by output errors needs the calibration, and the calibration needs the layers of a plan.
  // Therefore a first plan with uniform allocation precedes the calibration.
  const isLater = init === "activation" && allocation === "global";
  const decompositions = new Decompositions();
  const reordered = options.reorder && (yield* reorder(model, options.reorder, { data, signal }));
  const seen = data && new GroupedCovariances(model, { data, bytes, signal });
  try {
    let plan = await options.plan({ allocation: isLater ? "uniform" : allocation, decompositions });
    if (!isLater) yield { kind: "planned", plan };
    seen?.divide(plan.layers);
    if (isLater && seen) {
      yield* seen.spectra(decompositions);
      plan = await options.plan({ allocation, decompositions, ...(!seen.isSplit && { covariances: seen.current }) });
      yield { kind: "planned", plan };
    }
    const how = { init, seed, searchSteps, decompositions, signal, ...(locations !== undefined && { locations }) };
    const calibrated = seen && { covariances: seen.current, backwards: seen.isSplit };
    for await (const event of convert(model, plan, { ...how, ...calibrated })) {
      if (event.kind === "layer" && seen) yield* seen.provide(event.name);
      yield { kind: "inner", of: "convert", event };
      if (event.kind !== "converted") continue;
      const { kind: _, ...conversion } = event;
      return { plan, conversion, ...(seen && { rows: seen.rows }), ...(reordered && { reordered }) };
    }
    throw new Error("the conversion ended early");
  } finally {
    decompositions.dispose();
    seen?.dispose();
  }
}
