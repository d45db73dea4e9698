// Computes what needs gradients of the loss on a part of the calibration data: the energies of all layers for an allocation
// by the loss, and the importances of inputs. Layers are taken group by group, so that not all matrices are in memory.

import type { Tensor, Tensor1D } from "@tensorflow/tfjs-core";
import { type Decompositions, type SensitivityEvent, sensitivities } from "../compress/index.ts";
import { denseWeight, type Model } from "../models/index.ts";
import type { CalibrationData } from "./domains/domain.ts";
import type { GroupedCovariances } from "./grouped-covariances.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

/** Share of the calibration data on which gradients are computed: they take several times as long as a forward pass. */
const SHARE = 0.25;

export interface LossGradientOptions {
  data: CalibrationData;
  decompositions: Decompositions;
  /** whether energies are computed, which needs covariances */
  withEnergies: boolean;
  /** seed of the labels of classifiers */
  seed: number;
  signal: AbortSignal;
}

/** What gradients say about layers, by name. */
export interface LossGradients {
  /** see `PlanOptions.energies`; empty if they were not requested */
  energies: Map<string, Float64Array>;
  /** see `StartOptions.importance`. The caller disposes of them */
  importances: Map<string, Tensor1D>;
}

/** Computes energies and importances. @param covariances divided into groups of layers */
export async function* lossGradients(
  model: Model,
  covariances: GroupedCovariances,
  { data, decompositions, withEnergies, seed, signal }: LossGradientOptions,
): AsyncGenerator<PipelineEvent, LossGradients> {
  const total = Math.ceil(data.total * SHARE);
  const { unit } = data;
  const told = (event: SensitivityEvent) => ({ kind: "inner", of: "gradients", total, unit, event }) as const;
  const found: LossGradients = { energies: new Map(), importances: new Map() };
  for (const group of covariances.groupsBackwards) {
    const layers = group.map(({ name }) => name);
    if (withEnergies) for (const name of layers.slice(0, 1)) yield* covariances.provide(name);
    const how = { layers, withOutputs: withEnergies, seed, signal };
    const work = sensitivities(model, firstOf(data.inputs(), total), how);
    const { sensitivities: felt } = yield* lastEvent(work, "felt", told);
    for (const [name, { outputs, importance, rows }] of felt) {
      found.importances.set(name, importance);
      const covariance = covariances.current.get(name);
      if (!outputs || !covariance) continue;
      const weight = denseWeight(model, name);
      const energies = await decompositions.lossEnergies(name, weight, { covariance, felt: { outputs, rows } });
      found.energies.set(name, energies);
      for (const tensor of [weight, outputs]) tensor.dispose();
    }
  }
  return found;
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
