// Records on which data a model was calibrated: the number of inputs and their SHA-256. Two runs with the same hash have
// seen the same token ids or pixels in the same order, whatever the data set was called and however it was batched.

import { createHash } from "node:crypto";
import type { Tensor } from "@tensorflow/tfjs-core";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import type { CalibrationData } from "../domains/domain.ts";

type CalibrationFacts = NonNullable<ComparisonRow["calibration"]>;

/** Calibration data that knows its hash. */
export interface HashedCalibration extends CalibrationData {
  /** number and hash of the inputs, which are read unless a pass has read them to their end */
  facts(): Promise<CalibrationFacts>;
}

/** The same calibration data, hashed during the first pass over it that reaches the end, or when the hash is needed. */
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
  const known = () => facts;
  return {
    forward: (model, input) => data.forward(model, input),
    total: data.total,
    unit: data.unit,
    inputs: () => (known() === undefined ? hashedInputs() : data.inputs()),
    facts: async () => {
      if (known() === undefined) for await (const input of hashedInputs()) input.dispose();
      return known() as CalibrationFacts;
    },
  };
}
