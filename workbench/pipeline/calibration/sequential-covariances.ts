// Sequential calibration as a part of the convert stage: the statistics of a layer are computed when its conversion
// begins, from the model as it is converted so far.

import type { Tensor } from "@tensorflow/tfjs-core";
import { isDense } from "../../../hub/model-folder/index.ts";
import {
  type ConvertedLayer,
  type Covariances,
  type PlannedLayer,
  SequentialCalibration,
  takeApart,
} from "../../compress/index.ts";
import type { Sharing } from "../../distributed/shares.ts";
import { denseWeight, type Model } from "../../models/index.ts";
import type { CalibrationData } from "../domains/domain.ts";
import type { PipelineEvent } from "../stage.ts";

export interface SequentialCovarianceOptions extends Sharing {
  data: CalibrationData;
  /** share of the mean diagonal entry of Σ' that is added to its diagonal; see compress/sequential.ts */
  damping: number | undefined;
}

/** The statistics of the layers that are converted next. Must be disposed of. */
export class SequentialCovariances {
  private readonly model: Model;
  private readonly calibration: SequentialCalibration;

  private constructor(model: Model, calibration: SequentialCalibration) {
    [this.model, this.calibration] = [model, calibration];
  }

  /**
   * Reads the calibration data.
   * @param model dense model, in which convolutions that the plan converts per kernel position are split
   */
  static async open(
    model: Model,
    layers: readonly PlannedLayer[],
    { data, damping, ranks, signal }: SequentialCovarianceOptions,
  ): Promise<SequentialCovariances> {
    takeApart(model, layers);
    const names = layers.map(({ name }) => name);
    const forward = (stepped: Model, input: Tensor) => data.forward(stepped, input);
    const how = { layers: names, forward, damping, ranks, signal };
    return new SequentialCovariances(model, await SequentialCalibration.open(model, data.inputs(), how));
  }

  /** Σ' of the current layers by name, (n_in, n_in) */
  get current(): Covariances {
    return this.calibration.covariances;
  }

  /** K of the current layers by name, (n_in, n_in), see `ConvertOptions.corrections` */
  get corrections(): Covariances {
    return this.calibration.corrections;
  }

  /** names of the layers in the order of conversion, see `ConvertOptions.groups` */
  get conversionGroups(): readonly (readonly string[])[] {
    return this.calibration.groups;
  }

  get damping(): number {
    return this.calibration.damping;
  }

  /** number of input rows of a layer */
  get rows(): number {
    return this.calibration.rows;
  }

  /** Computes the statistics of a layer, unless they are there. */
  async *provide(name: string): AsyncGenerator<PipelineEvent, void> {
    for await (const event of this.calibration.provide(name)) yield { kind: "inner", of: "convert", event };
  }

  /** Must be called when a layer has its new structure. */
  replaced({ name, structure, error }: Pick<ConvertedLayer, "name" | "structure" | "error">): void {
    if (isDense(structure) && error === 0) return;
    const matrix = denseWeight(this.model, name);
    this.calibration.replaced(name, matrix);
    matrix.dispose();
  }

  dispose(): void {
    this.calibration.dispose();
  }
}
