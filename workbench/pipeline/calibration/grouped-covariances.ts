// Computes the covariances of layers in groups that fit in memory, with one pass over the data for each group. Groups
// are calibrated from the last layer to the first. The inputs of a layer do not depend on later layers, so the later
// groups may be converted already: the covariances are those of the dense model, whatever the groups are.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { type Covariances, type Decompositions, type PlannedLayer, takeApart } from "../../compress/index.ts";
import type { ProcessGroup } from "../../distributed/process-group.ts";
import { denseWeight, type Model } from "../../models/index.ts";
import type { CalibrationData } from "../domains/domain.ts";
import type { PipelineEvent } from "../stage.ts";
import type { CalibrationResults } from "./cache.ts";
import { type Calibration, calibrateLayers } from "./calibrate.ts";

/** Most bytes of covariances that are in memory at a time. */
export const CALIBRATION_BYTES = 4e9;

const FLOAT_BYTES = 4;

export interface GroupedOptions {
  data: CalibrationData;
  /** most bytes of covariances at a time; a single layer may need more */
  bytes: number;
  /** results of earlier calibrations of the same model with the same data. Default: none */
  cache?: CalibrationResults | undefined;
  /** processes that share calibrations, all of which ask for the same layers in the same order. Default: there is one */
  ranks?: ProcessGroup | undefined;
  signal: AbortSignal;
}

/** The covariances of one group of layers at a time. Must be disposed of. */
export class GroupedCovariances {
  /** Σ of the current group by layer name, (n_in, n_in) */
  readonly current: Covariances = new Map();
  /** number of input rows of a layer */
  rows = 0;
  private readonly model: Model;
  private readonly options: GroupedOptions;
  private groups: PlannedLayer[][] = [];

  constructor(model: Model, options: GroupedOptions) {
    [this.model, this.options] = [model, options];
  }

  /** Whether the covariances of all layers do not fit in memory together. */
  get isSplit(): boolean {
    return this.groups.length > 1;
  }

  /** names of the layers in the order of conversion, see `ConvertOptions.groups`; undefined for the order of the plan */
  get conversionGroups(): readonly (readonly string[])[] | undefined {
    return this.isSplit ? this.groupsBackwards.map((layers) => layers.map(({ name }) => name).toReversed()) : undefined;
  }

  /** the groups in the order in which they are calibrated */
  get groupsBackwards(): readonly (readonly PlannedLayer[])[] {
    return this.groups.toReversed();
  }

  /**
   * Divides the layers into groups, in the order of the model.
   * @param options.withOutputs whether a matrix (n_out, n_out) of each layer is in memory too. Default false
   */
  divide(layers: readonly PlannedLayer[], { withOutputs = false }: { withOutputs?: boolean } = {}): void {
    const groups: PlannedLayer[][] = [];
    let room = 0;
    for (const layer of layers.toReversed()) {
      const size = (layer.nIn ** 2 + (withOutputs ? layer.nOut ** 2 : 0)) * FLOAT_BYTES;
      if (size > room || groups.length === 0) {
        groups.unshift([]);
        room = this.options.bytes;
      }
      groups[0]?.unshift(layer);
      room -= size;
    }
    this.groups = groups;
  }

  /** Makes the covariance of a layer available: calibrates its group, unless that is the current one. */
  async *provide(name: string): AsyncGenerator<PipelineEvent, void> {
    if (this.current.has(name)) return;
    const group = this.groups.find((layers) => layers.some((layer) => layer.name === name));
    if (!group) return;
    this.dispose();
    const { data, cache, ranks, signal } = this.options;
    const names = group.map((layer) => layer.name);
    const known = await cache?.read("covariances", names);
    if (known) {
      takeApart(this.model, group);
      for (const [layer, covariance] of known.tensors) this.current.set(layer, covariance as Tensor2D);
      this.rows = known.rows;
      return;
    }
    const { covariances, rows }: Calibration = yield* calibrateLayers(this.model, group, { data, ranks, signal });
    for (const [layer, covariance] of covariances) this.current.set(layer, covariance);
    this.rows = rows;
    await cache?.write("covariances", { tensors: covariances, rows });
  }

  /** Computes what a global allocation by output errors needs: all covariances, or the singular values of all layers. */
  async *spectra(decompositions: Decompositions): AsyncGenerator<PipelineEvent, void> {
    for (const group of this.groupsBackwards) {
      for (const layer of group) {
        yield* this.provide(layer.name);
        if (!this.isSplit) continue;
        const weight = denseWeight(this.model, layer.name);
        await decompositions.addOutputSpectrum(layer.name, weight, this.current.get(layer.name) as typeof weight);
        weight.dispose();
      }
    }
  }

  /** Disposes of the covariances of the current group. */
  dispose(): void {
    for (const covariance of new Set(this.current.values())) covariance.dispose();
    this.current.clear();
  }
}
