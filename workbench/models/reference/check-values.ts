// The values of a checkpoint's tensors, read once and held to what a model may have: numbers that are finite, and widths
// that are shares.

import type { Checkpoint } from "../../../hub/checkpoint/index.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { toFloat32 } from "../../../hub/safetensors/index.ts";
import { samples } from "../../gblr/rounding.ts";
import type { ReadCheckpoint } from "./checkpoint-tensors.ts";

export interface CheckedTensor {
  kind: "checking";
  tensor: string;
  /** of this tensor, of `total` */
  bytes: number;
  total: number;
}

const FLOATS = new Set(["F64", "F32", "F16", "BF16"]);

/** @throws ModelError naming the tensor and the value */
export async function* checkValues(
  checkpoint: Checkpoint,
  { seen, names }: Pick<ReadCheckpoint, "seen" | "names">,
): AsyncGenerator<CheckedTensor, void> {
  const { file, tensors } = seen;
  const total = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  for (const [name, stored] of names) {
    const tensor = await checkpoint.read(stored);
    const place = { file, tensor: stored };
    // Smoothness can be without bound.
    if (FLOATS.has(tensor.dtype) && !name.endsWith(".sigma")) {
      const values = toFloat32(tensor);
      const bad = values.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw new ModelError(`value ${bad} is not finite`, place);
      if (name.endsWith(".widths")) {
        const layer = name.slice(0, -".widths".length);
        const [nIn, nOut] = [
          tensors.get(`${layer}.lr_weight1`)?.shape[2],
          tensors.get(`${layer}.lr_weight2`)?.shape[1],
        ];
        if (nIn !== undefined && nOut !== undefined) expectShares(values, [nIn, nOut], place);
      }
    }
    yield { kind: "checking", tensor: stored, bytes: tensor.data.byteLength, total };
  }
}

/**
 * The reference clamps widths after most steps but not all, so that they may be a little outside of [0, 1]; rounded to
 * samples they are then not, or -1, which counts as 0. What is further out is a mask that repeats or is negative.
 */
function expectShares(
  widths: Float32Array,
  sides: readonly [number, number],
  place: { file: string; tensor: string },
): void {
  for (const [i, width] of widths.entries()) {
    const n = sides[i < widths.length / 2 ? 0 : 1] as number;
    const rounded = samples(width, n);
    if (rounded >= -1 && rounded <= n) continue;
    throw new ModelError(`value ${i} is ${width.toPrecision(4)}, which is no share of ${n}: from 0 to 1`, place);
  }
}
