// The convert stage, for experiments and for `gblr convert` alike: plans a conversion, calibrates where a data set is
// given, and carries the plan out on a model in memory. Nothing is written.

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
import { type Calibration, calibrateLayers } from "./calibrate.ts";
import type { CalibrationData } from "./domains/domain.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

export interface PlanRequest {
  allocation: Allocation;
  /** keeps what is decomposed for the plan, so that the conversion does not decompose it again */
  decompositions?: Decompositions;
  /** Σ (n_in, n_in) by layer name: a global allocation then goes by the errors of outputs */
  covariances?: Covariances;
}

export interface ConvertStageOptions {
  /** plans by sizes and, with a global allocation, by singular values */
  plan(request: PlanRequest): Promise<ConversionPlan>;
  allocation: Allocation;
  init: Init;
  /** of the search and of `uniform` locations */
  seed: number;
  searchSteps: number;
  /** GBLR: rule for starting locations. Default `linspace` */
  locations?: string;
  /** what to run the model on before: `activation` needs it; with other starts, errors of outputs are told */
  calibration?: CalibrationData | undefined;
  signal: AbortSignal;
}

export interface Converted {
  plan: ConversionPlan;
  conversion: Conversion;
  /** rows of input that calibration saw */
  rows?: number;
}

/**
 * Announces the plan with a `planned` event before the conversion begins.
 * @param model dense; changed in place
 * @throws EngineError as `planConversion` and `convert` do; the signal's reason when it aborts
 */
export async function* convertModel(
  model: Model,
  options: ConvertStageOptions,
): AsyncGenerator<PipelineEvent, Converted> {
  const { allocation, init, seed, searchSteps, locations, calibration: data, signal } = options;
  // By outputs, singular values are known only after calibration. Which layers are converted is known before.
  const isLater = init === "activation" && allocation === "global";
  const decompositions = new Decompositions();
  let seen: Calibration | undefined;
  try {
    let plan = await options.plan({ allocation: isLater ? "uniform" : allocation, decompositions });
    if (!isLater) yield { kind: "planned", plan };
    seen = data && (yield* calibrateLayers(model, plan.layers, { data, signal }));
    if (isLater) {
      plan = await options.plan({ allocation, decompositions, ...(seen && { covariances: seen.covariances }) });
      yield { kind: "planned", plan };
    }
    const how = { init, seed, searchSteps, decompositions, signal, ...(locations !== undefined && { locations }) };
    const events = convert(model, plan, { ...how, ...(seen && { covariances: seen.covariances }) });
    const conversion = yield* lastEvent(events, "converted", (event) => ({ kind: "inner", of: "convert", event }));
    return { plan, conversion, ...(seen && { rows: seen.rows }) };
  } finally {
    decompositions.dispose();
    for (const covariance of seen?.covariances.values() ?? []) covariance.dispose();
  }
}
