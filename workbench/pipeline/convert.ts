// The convert stage of experiments and of `gblr convert`: plans a conversion, calibrates if data is given, and converts
// a model in memory. It writes no files.

import {
  type Allocation,
  type Conversion,
  type ConversionPlan,
  type Covariances,
  convert,
  Decompositions,
  type FinishedLayers,
  INIT_KINDS,
  type Init,
} from "../compress/index.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import type { Whitening } from "../gblr/init/index.ts";
import type { Model } from "../models/index.ts";
import type { CalibrationResults } from "./calibration/cache.ts";
import { CALIBRATION_BYTES, GroupedCovariances } from "./calibration/grouped-covariances.ts";
import type { HashedCalibration } from "./calibration/hash.ts";
import { type LossGradients, lossGradients } from "./calibration/loss-gradients.ts";
import { SequentialCovariances } from "./calibration/sequential-covariances.ts";
import { type Reordered, type ReorderRequest, reorder } from "./reorder.ts";
import type { PipelineEvent } from "./stage.ts";

/** The inputs of a plan that the convert stage determines. */
export interface PlanRequest {
  allocation: Allocation;
  /** see `PlanOptions.init` */
  init?: Init;
  /** stores the decompositions of the plan, which the conversion reuses */
  decompositions?: Decompositions;
  /** Σ by layer name, (n_in, n_in). With it, a global allocation minimizes output errors */
  covariances?: Covariances;
  /** what an allocation by the loss needs, see `PlanOptions.energies` */
  energies?: ReadonlyMap<string, ArrayLike<number>>;
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
  /** GBLR: blocks of a search by outputs begin and end at multiples of so many samples. Default 1 */
  quantum?: number | undefined;
  /** GBLR: rank of the blocks of a search by outputs. Default 1 */
  blockRank?: number | undefined;
  /** GBLR: blocks of a search by outputs do not cancel each other, so that they can be trained. Default false */
  stableBlocks?: boolean | undefined;
  /** puts units in order before anything else. Default: they stay as they are */
  reorder?: ReorderRequest | undefined;
  /** data to calibrate on. The initialization `activation` needs it; with others, output errors are reported */
  calibration?: HashedCalibration | undefined;
  /**
   * whether each layer is fitted to the inputs that the layers converted before it cause, see compress/sequential.ts.
   * Needs calibration data. Default false
   */
  sequential?: boolean | undefined;
  /** sequential: share of the mean diagonal entry that is added to covariances. Default 1e-4 */
  damping?: number | undefined;
  /** how covariances are factored, see gblr/init/whitening.ts. Default `cholesky` */
  whitening?: Whitening | undefined;
  /** most bytes of covariances at a time. If they are more, the model runs over the data several times. Default 4 GB */
  calibrationBytes?: number | undefined;
  /** keeps results of calibrations of the dense model for other conversions of it. Default: none are kept */
  cache?: CalibrationResults | undefined;
  /** keeps finished layers for a process that resumes this one, see compress/finished-layers.ts. Default: none are kept */
  finished?: FinishedLayers | undefined;
  /** processes that share calibrations and layers, all of which call this. Default: there is one */
  ranks?: ProcessGroup | undefined;
  signal: AbortSignal;
}

/** The result of the convert stage. */
export interface Converted {
  plan: ConversionPlan;
  conversion: Conversion;
  /** number of input rows of the calibration */
  rows?: number;
  /** seconds that earlier processes took for layers that were put in place. Default 0 */
  earlierSeconds?: number;
  /** the largest damping that a sequential calibration has used, as a share of the mean diagonal entry */
  damping?: number;
  /** the orders of units, if the model was reordered */
  reordered?: Reordered | undefined;
}

/** Whether a budget is allocated by what a calibration finds, so that the plan is known only after it. */
export const isAllocatedLater = ({
  allocation,
  init,
  isCalibrated,
}: Pick<ConvertStageOptions, "allocation" | "init"> & { isCalibrated: boolean }): boolean =>
  allocation === "loss" || (allocation === "global" && isCalibrated && INIT_KINDS[init].isByOutputs === true);

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
  const { calibrationBytes: bytes = CALIBRATION_BYTES, sequential = false, damping, whitening, ranks } = options;
  // A global allocation by output errors needs the calibration, and the calibration needs the layers of a plan.
  // Therefore a first plan with uniform allocation precedes the calibration.
  const { needsImportance } = INIT_KINDS[init];
  const isByLoss = allocation === "loss";
  const isLater = isAllocatedLater({ allocation, init, isCalibrated: data !== undefined });
  // The layers of a sequential conversion are fitted to other matrices than those of the plan.
  const decompositions = new Decompositions({ whitening, ...(sequential && { most: 0 }) });
  const reordered =
    options.reorder && (yield* reorder(model, options.reorder, { data, cache: options.cache, ranks, signal }));
  // A reordered model has inputs in another order. Energies do not depend on it.
  const cache = options.reorder ? undefined : options.cache;
  const seen = data && new GroupedCovariances(model, { data, bytes, cache, ranks, signal });
  let sequence: SequentialCovariances | undefined;
  let felt: LossGradients | undefined;
  try {
    let plan = await options.plan({ allocation: isLater ? "uniform" : allocation, decompositions });
    if (!isLater) {
      plan = await planOfFirst(plan, options);
      yield { kind: "planned", plan };
    }
    seen?.divide(plan.layers, { withOutputs: isByLoss });
    if (data && seen && (isByLoss || needsImportance)) {
      const kept = { cache: needsImportance ? cache : options.cache, keepsImportances: options.reorder === undefined };
      const gradients = { data, decompositions, withEnergies: isByLoss, ...kept, seed, ranks, signal };
      felt = yield* lossGradients(model, seen, gradients);
    }
    if (isLater && seen) {
      const request = felt && isByLoss ? { energies: felt.energies } : yield* outputSpectra(seen, decompositions);
      plan = await planOfFirst(await options.plan({ allocation, init, decompositions, ...request }), options);
      yield { kind: "planned", plan };
    }
    if (data && sequential) {
      seen?.dispose();
      sequence = await SequentialCovariances.open(model, plan.layers, { data, damping, ranks, signal });
    } else if (seen && !seen.isSplit) {
      // The layers of an earlier process are put in place before the first one is converted, which must not change Σ.
      for (const { name } of plan.layers.slice(0, 1)) yield* seen.provide(name);
    }
    const source = sequence ?? seen;
    const { current: covariances, conversionGroups: groups } = source ?? {};
    const calibrated = {
      ...(covariances && { covariances }),
      groups,
      ...(sequence && { corrections: sequence.corrections }),
    };
    // Mostly, a pass over the data has found its hash by now, so that it is not read once more.
    const finished = options.finished?.with({ sequential, damping, data: await data?.facts() });
    const how = {
      init,
      seed,
      searchSteps,
      quantum: options.quantum,
      blockRank: options.blockRank,
      stableBlocks: options.stableBlocks,
      decompositions,
      signal,
      finished,
      ranks,
      whitening,
      importances: felt?.importances,
      ...(locations !== undefined && { locations }),
    };
    let earlierSeconds = 0;
    for await (const event of convert(model, plan, { ...how, ...calibrated })) {
      if (event.kind === "restored") earlierSeconds += event.layer.seconds;
      if (event.kind === "group" && source) for (const name of event.names) yield* source.provide(name);
      if (event.kind === "replaced" || event.kind === "restored") sequence?.replaced(event.layer);
      yield { kind: "inner", of: "convert", event };
      if (event.kind !== "converted") continue;
      // The first process may remove the finished layers when all have read them.
      await ranks?.barrier();
      const { kind: _, ...conversion } = event;
      const used = sequence && { damping: sequence.damping };
      return {
        plan,
        conversion,
        ...(source && { rows: source.rows }),
        ...used,
        ...(earlierSeconds > 0 && { earlierSeconds }),
        ...(reordered && { reordered }),
      };
    }
    throw new Error("the conversion ended early");
  } finally {
    decompositions.dispose();
    seen?.dispose();
    sequence?.dispose();
    for (const importance of felt?.importances.values() ?? []) importance.dispose();
  }
}

/** The plan of the first process: those of others may differ, as other processors round differently. */
async function planOfFirst(
  plan: ConversionPlan,
  { ranks, signal }: Pick<ConvertStageOptions, "ranks" | "signal">,
): Promise<ConversionPlan> {
  if (!ranks) return plan;
  if (ranks.rank > 0) return JSON.parse(await ranks.told(signal)) as ConversionPlan;
  await ranks.tell(JSON.stringify(plan));
  return plan;
}

/** Covariances for a global allocation by output errors, if they are in memory together; else the singular values. */
async function* outputSpectra(
  seen: GroupedCovariances,
  decompositions: Decompositions,
): AsyncGenerator<PipelineEvent, Pick<PlanRequest, "covariances">> {
  yield* seen.spectra(decompositions);
  return seen.isSplit ? {} : { covariances: seen.current };
}
