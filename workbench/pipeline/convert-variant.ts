// Converts the model of a variant in memory. With several processes, all of them are here at the same time, each with its
// own copy of the base model, and share the layers through the run folder.

import { join } from "node:path";
import { FinishedLayers, INIT_KINDS, needsCalibration } from "../compress/index.ts";
import type { Model } from "../models/index.ts";
import { RUN_FILES } from "../report/index.ts";
import { structureNamed } from "../structures/registry.ts";
import type { CalibrationCache } from "./calibration/cache.ts";
import { type HashedCalibration, hashedCalibration } from "./calibration/hash.ts";
import { type Converted, convertModel, type PlanRequest } from "./convert.ts";
import type { OpenData } from "./domains/domain.ts";
import { planVariant, type VariantPlan } from "./plan.ts";
import { requestOf } from "./reorder.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentContext, PipelineEvent } from "./stage.ts";
import type { Variant } from "./variants.ts";

/** Options of `convertVariant`. */
export interface ConvertVariantOptions {
  variant: Variant;
  /** those of the variant */
  settings: ExperimentSettings;
  /** run folder of the variant */
  folder: string;
  context: ExperimentContext;
  data: OpenData;
  cache: CalibrationCache;
  /** called with each plan. Default: nothing is done */
  planned?: (plan: VariantPlan) => Promise<unknown>;
}

/** The finished layers of a variant, beside its converted model. */
export const finishedLayers = ({ folder, variant }: Pick<ConvertVariantOptions, "folder" | "variant">) =>
  new FinishedLayers(`${join(folder, RUN_FILES.converted)}.layers`, variant.key);

/** Converts a dense model, which is changed in place. @returns also the calibration data, if any was used */
export async function* convertVariant(
  model: Model,
  options: ConvertVariantOptions,
): AsyncGenerator<PipelineEvent, Converted & { calibration: HashedCalibration | undefined }> {
  const { variant, settings, context, data, cache, planned } = options;
  const { seed, searchSteps, locations, quantum, blockRank, stableBlocks } = settings;
  const { sequential, damping, whitening, maskSigma } = settings;
  const { calibrationSamples: samples, calibrationSeed, microBatch: batch } = settings;
  const { init, allocation } = variant;
  const plan = async (request: PlanRequest) => {
    const found = await planVariant(model, variant, { settings, ...request });
    await planned?.(found);
    return found.start;
  };
  const isCalibrated = needsCalibration(init) || INIT_KINDS[init].isByOutputs || allocation === "loss" || sequential;
  const chosen = { samples, batch, seed: calibrationSeed };
  const calibration = isCalibrated ? hashedCalibration(data.calibration(chosen)) : undefined;
  const search = { init, seed, searchSteps, locations, quantum, blockRank, stableBlocks };
  const how = { allocation, ...search, signal: context.signal, ranks: context.ranks };
  const calibrated = { calibration, sequential, damping, whitening, cache: calibration && cache.of(calibration) };
  const asked = { plan, finished: finishedLayers(options), reorder: requestOf(settings), ...how, ...calibrated };
  const converted = yield* convertModel(model, asked);
  if (maskSigma !== undefined && structureNamed(variant.structure).hasWidths) model.masks.sigma = maskSigma;
  return { ...converted, calibration };
}
