// Sizes of a network as the shapes and names of a checkpoint's tensors tell them. No values are read.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { ReferenceCheckpoint } from "../reader.ts";

type Shapes = Pick<ReferenceCheckpoint, "tensors" | "file">;

/** @throws ModelError when there is no such tensor, or none with so many axes */
export function sideOf({ tensors, file }: Shapes, tensor: string, axis: number): number {
  const length = tensors.get(tensor)?.shape[axis];
  if (length !== undefined) return length;
  throw new ModelError(tensors.has(tensor) ? `has no axis ${axis}` : "is missing", { file, tensor });
}

/** What timm multiplies a width by and rounds down to have an inner width. */
export function ratioOf(inner: number, width: number): number {
  const ratio = inner / width;
  return Math.floor(ratio * width) === inner ? ratio : (inner + 0.5) / width;
}

/**
 * How many different numbers names have in the place of the pattern's group. They are counted, not the largest taken: a
 * number in a name can be as large as it likes.
 */
export function countNumbered({ tensors }: Shapes, pattern: RegExp): number {
  const numbers = Array.from(tensors.keys(), (name) => pattern.exec(name)?.[1]).filter((found) => found !== undefined);
  return new Set(numbers).size;
}
