// Computes what an allocation by the loss needs: the energies of all layers, group by group, from the covariances of their
// inputs and from gradients on a part of the calibration data.

import type { Tensor } from "@tensorflow/tfjs-core";
import { type Decompositions, type Sensitivity, type SensitivityEvent, sensitivities } from "../compress/index.ts";
import { denseWeight, type Model } from "../models/index.ts";
import type { CalibrationData } from "./domains/domain.ts";
import type { GroupedCovariances } from "./grouped-covariances.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

/** Share of the calibration data on which gradients are computed: they take several times as long as a forward pass. */
const SHARE = 0.25;

export interface LossEnergyOptions {
  data: CalibrationData;
  decompositions: Decompositions;
  /** seed of the labels of classifiers */
  seed: number;
  signal: AbortSignal;
}

/** The energies of all layers by name, see `PlanOptions.energies`. @param covariances divided into groups of layers */
export async function* lossEnergies(
  model: Model,
  covariances: GroupedCovariances,
  { data, decompositions, seed, signal }: LossEnergyOptions,
): AsyncGenerator<PipelineEvent, Map<string, Float64Array>> {
  const total = Math.ceil(data.total * SHARE);
  const { unit } = data;
  const told = (event: SensitivityEvent) => ({ kind: "inner", of: "gradients", total, unit, event }) as const;
  const energies = new Map<string, Float64Array>();
  for (const layers of covariances.groupsBackwards) {
    const names = layers.map(({ name }) => name);
    for (const name of names.slice(0, 1)) yield* covariances.provide(name);
    const work = sensitivities(model, firstOf(data.inputs(), total), { layers: names, seed, signal });
    const { sensitivities: felt } = yield* lastEvent(work, "felt", told);
    try {
      for (const name of names) {
        const covariance = covariances.current.get(name);
        const own = felt.get(name);
        if (!covariance || !own) continue;
        const weight = denseWeight(model, name);
        energies.set(name, await decompositions.lossEnergies(name, weight, { covariance, felt: own }));
        weight.dispose();
      }
    } finally {
      for (const own of felt.values()) disposeOf(own);
    }
  }
  return energies;
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

function disposeOf({ outputs, importance }: Sensitivity): void {
  outputs.dispose();
  importance.dispose();
}
