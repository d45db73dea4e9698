// Computes what needs gradients of the loss on a part of the calibration data: the energies of all layers for an allocation
// by the loss, and the importances of inputs. Layers are taken group by group, so that not all matrices are in memory.

import { type Tensor, type Tensor1D, tensor1d } from "@tensorflow/tfjs-core";
import { type Decompositions, type Sensitivity, type SensitivityEvent, sensitivities } from "../../compress/index.ts";
import type { ProcessGroup } from "../../distributed/process-group.ts";
import { gathered, isOwn } from "../../distributed/shares.ts";
import { denseWeight, type Model } from "../../models/index.ts";
import type { CalibrationData } from "../domains/domain.ts";
import { lastEvent, type PipelineEvent } from "../stage.ts";
import type { CalibrationResults } from "./cache.ts";
import type { GroupedCovariances } from "./grouped-covariances.ts";

/** Share of the calibration data on which gradients are computed: they take several times as long as a forward pass. */
const SHARE = 0.25;

export interface LossGradientOptions {
  data: CalibrationData;
  decompositions: Decompositions;
  /** whether energies are computed, which needs covariances */
  withEnergies: boolean;
  /** results of earlier calibrations of the same model with the same data. Default: none */
  cache?: CalibrationResults | undefined;
  /**
   * whether importances are taken from there and kept there too. False for a model that was reordered: its importances
   * are in another order, but energies do not depend on it. Default true
   */
  keepsImportances?: boolean;
  /** seed of the labels of classifiers */
  seed: number;
  /** processes that share the work, all of which call this. Default: there is one */
  ranks?: ProcessGroup | undefined;
  signal: AbortSignal;
}

/** Results of layers by name. */
export interface LossGradients {
  /** see `PlanOptions.energies`; empty if they were not requested */
  energies: Map<string, Float32Array>;
  /** see `StartOptions.importance`. The caller disposes of them */
  importances: Map<string, Tensor1D>;
}

/** Computes energies and importances. @param covariances divided into groups of layers */
export async function* lossGradients(
  model: Model,
  covariances: GroupedCovariances,
  { data, decompositions, withEnergies, cache, keepsImportances = true, seed, ranks, signal }: LossGradientOptions,
): AsyncGenerator<PipelineEvent, LossGradients> {
  const all = covariances.groupsBackwards.flatMap((group) => group.map(({ name }) => name));
  const known = cache && (await knownGradients(cache, { layers: all, withEnergies, keepsImportances }));
  if (known) return known;
  const total = Math.ceil(data.total * SHARE);
  const { unit } = data;
  const told = (event: SensitivityEvent) => ({ kind: "inner", of: "gradients", total, unit, event }) as const;
  const found: LossGradients = { energies: new Map(), importances: new Map() };
  try {
    for (const group of covariances.groupsBackwards) {
      const layers = group.map(({ name }) => name);
      if (withEnergies) for (const name of layers.slice(0, 1)) yield* covariances.provide(name);
      const how = { layers, withOutputs: withEnergies, seed, ranks, signal };
      const work = sensitivities(model, firstOf(data.inputs(), total), how);
      const { sensitivities: felt } = yield* lastEvent(work, "sensitivities", told);
      for (const [name, { importance }] of felt) found.importances.set(name, importance);
      if (!withEnergies) continue;
      const energies = async () => energiesOf(model, felt, { covariances, decompositions, ranks });
      for (const share of await gathered("a calibration", energies, { ranks, signal })) {
        for (const [name, values] of share) found.energies.set(name, Float32Array.from(values));
      }
    }
    if (keepsImportances) await cache?.write("importances", { tensors: found.importances, rows: 0 });
    if (withEnergies && cache) {
      const tensors = new Map(Array.from(found.energies, ([name, values]) => [name, tensor1d(values)] as const));
      await cache.write("energies", { tensors, rows: 0 });
      for (const values of tensors.values()) values.dispose();
    }
    return found;
  } catch (error) {
    for (const importance of found.importances.values()) importance.dispose();
    throw error;
  }
}

/**
 * The energies of the layers of this process.
 * @param felt sensitivities, whose G is disposed of
 */
async function energiesOf(
  model: Model,
  felt: ReadonlyMap<string, Sensitivity>,
  {
    covariances,
    decompositions,
    ranks,
  }: Pick<LossGradientOptions, "decompositions" | "ranks"> & { covariances: GroupedCovariances },
): Promise<[string, number[]][]> {
  const found: [string, number[]][] = [];
  try {
    for (const [i, [name, { outputs, rows }]] of [...felt].entries()) {
      const covariance = covariances.current.get(name);
      if (outputs && covariance && isOwn(ranks, i)) {
        const weight = denseWeight(model, name);
        try {
          const energies = await decompositions.lossEnergies(name, weight, { covariance, felt: { outputs, rows } });
          found.push([name, [...energies]]);
        } finally {
          weight.dispose();
        }
      }
      outputs?.dispose();
    }
    return found;
  } finally {
    for (const { outputs } of felt.values()) outputs?.dispose();
  }
}

/** Results of an earlier process or variant; undefined unless there is one for every layer. */
async function knownGradients(
  cache: CalibrationResults,
  {
    layers,
    withEnergies,
    keepsImportances,
  }: { layers: readonly string[]; withEnergies: boolean; keepsImportances: boolean },
): Promise<LossGradients | undefined> {
  const energies = new Map<string, Float32Array>();
  if (withEnergies) {
    const read = await cache.read("energies", layers);
    if (!read) return undefined;
    for (const [name, values] of read.tensors) energies.set(name, (await values.data()) as Float32Array);
    for (const values of read.tensors.values()) values.dispose();
  }
  if (!keepsImportances) return { energies, importances: new Map() };
  const importances = await cache.read("importances", layers);
  return importances && { energies, importances: importances.tensors as LossGradients["importances"] };
}

/** The first inputs, until they are `most` sequences or images. */
async function* firstOf(inputs: AsyncIterable<Tensor>, most: number): AsyncGenerator<Tensor> {
  let count = 0;
  for await (const input of inputs) {
    if (count >= most) {
      input.dispose();
      return;
    }
    count += input.shape[0] ?? 1;
    yield input;
  }
}
