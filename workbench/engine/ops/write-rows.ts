// writeRows, rows put into a larger tensor in place: what a key/value cache of fixed size is filled by. Only where a
// backend can, which is torch; tensors of the others are immutable. No gradient.

import { engine, getBackend, getKernel, type NamedTensorMap, type Tensor, type Variable } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import { WRITE_ROWS } from "./kernels.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Whether the current engine can. */
export function canWriteRows(): boolean {
  return getKernel(WRITE_ROWS, getBackend()) !== undefined;
}

/**
 * Rows at … at + count - 1 of the buffer become `rows`. Views of the buffer, such as slices, may see it: let none live on.
 * @param buffer float32 (..., rows, width), changed
 * @param rows float32 (..., count, width), the other sides as the buffer's
 * @param at the first row that is written
 * @throws ShapeError when the rows do not fit
 */
export function writeRows(buffer: Variable, rows: Tensor, at: number): void {
  if (!canWriteRows()) throw new ShapeError(`writeRows: engine "${getBackend()}" cannot write into a tensor`);
  expectOperand("writeRows", { buffer }, { dtype: "float32", shape: ["...", "rows", "width"] });
  const count = rows.shape[rows.rank - 2] ?? 0;
  const shape = buffer.shape.map((side, axis) => (axis === buffer.rank - 2 ? count : side));
  expectOperand("writeRows", { rows }, { dtype: "float32", shape });
  const most = (buffer.shape[buffer.rank - 2] as number) - count;
  expectSetting("writeRows", { at }, `from 0 to ${most}`, Number.isInteger(at) && at >= 0 && at <= most);
  engine().runKernel(WRITE_ROWS, { buffer, rows } satisfies NamedTensorMap, { at });
}
