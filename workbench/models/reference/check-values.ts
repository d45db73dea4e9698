// The values of a checkpoint's tensors, read once: numbers that are not finite are none of a model's. Widths and locations
// may be outside of [0, 1], where the reference's trainer does not clamp after every step: masks are defined there too.

import type { Checkpoint } from "../../../hub/checkpoint/index.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { toFloat32 } from "../../../hub/safetensors/index.ts";
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
    // Smoothness can be without bound.
    if (FLOATS.has(tensor.dtype) && !name.endsWith(".sigma")) {
      const values = toFloat32(tensor);
      const bad = values.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw new ModelError(`value ${bad} is not finite`, { file, tensor: stored });
    }
    yield { kind: "checking", tensor: stored, bytes: tensor.data.byteLength, total };
  }
}
