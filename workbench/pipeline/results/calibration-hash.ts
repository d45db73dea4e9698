// Records on which data a model was calibrated: the number of inputs and their SHA-256. Two runs with the same hash have
// seen the same token ids or pixels in the same order, whatever the data set was called and however it was batched.

import { createHash } from "node:crypto";
import type { Tensor } from "@tensorflow/tfjs-core";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import type { CalibrationData } from "../domains/domain.ts";

type CalibrationFacts = NonNullable<ComparisonRow["calibration"]>;

/** Calibration data whose inputs are hashed when they are read for the first time. */
export interface HashedCalibration extends CalibrationData {
  /** what was read; undefined as long as the inputs have not been read to their end */
  facts(): CalibrationFacts | undefined;
}

/** The same calibration data, hashed during the first pass over it that reaches the end. */
export function hashedCalibration(data: CalibrationData): HashedCalibration {
  let facts: CalibrationFacts | undefined;
  async function* hashedInputs(): AsyncGenerator<Tensor, void> {
    const hash = createHash("sha256");
    let samples = 0;
    for await (const input of data.inputs()) {
      const { buffer, byteOffset, byteLength } = await input.data();
      hash.update(new Uint8Array(buffer, byteOffset, byteLength));
      samples += input.shape[0] ?? 1;
      yield input;
    }
    facts = { samples, sha256: hash.digest("hex") };
  }
  return {
    forward: (model, input) => data.forward(model, input),
    total: data.total,
    unit: data.unit,
    inputs: () => (facts === undefined ? hashedInputs() : data.inputs()),
    facts: () => facts,
  };
}
