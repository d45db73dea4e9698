// Reads and writes rows of a matrix. `embedding` reads rows by ids and has a gradient. `writeRows` writes consecutive
// rows into a larger tensor in place, and `scatterRows` rows by ids; they have no gradient. The gradient of `embedding` is
// dense and as large as the table; so are the moments of AdamW. Writing in place fills a key/value cache of fixed size.
// Only the torch backend can do it, because the tensors of the others are immutable.

import {
  gather,
  getBackend,
  getKernel,
  reshape,
  type Tensor,
  unsortedSegmentSum,
  type Variable,
  zeros,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import {
  EMBEDDING,
  EMBEDDING_GRADIENT,
  type EmbeddingGradientAttributes,
  type EmbeddingGradientInputs,
  type EmbeddingInputs,
  SCATTER_ROWS,
  WRITE_ROWS,
} from "./kernels.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/**
 * Looks up rows of a table: y[i…] = table[ids[i…]].
 * @param table float32 (rows, width)
 * @param ids int32, any shape, each from 0 to rows-1; an id out of range is an error on the CPU, undefined on a GPU
 * @returns float32 (...ids, width)
 * @throws ShapeError when an operand does not fit
 */
export function embedding(table: Tensor, ids: Tensor): Tensor {
  expectOperand("embedding", { table }, { dtype: "float32", shape: ["rows", "width"] });
  expectOperand("embedding", { ids }, { dtype: "int32", shape: ["..."] });
  const rows = table.shape[0] as number;
  return differentiable({
    name: "embedding",
    inputs: { table },
    forward: () => ({ value: runKernel(EMBEDDING, { table, ids })[0] as Tensor, saved: [ids] }),
    backward: (dy, [saved]) => ({
      table: () => runKernel(EMBEDDING_GRADIENT, { dy, ids: saved as Tensor }, { rows })[0] as Tensor,
    }),
  });
}

registerPortable<EmbeddingInputs>(EMBEDDING, ({ table, ids }) =>
  ids.size === 0 ? zeros([...ids.shape, table.shape[1] as number]) : gather(table, ids),
);

registerPortable<EmbeddingGradientInputs, EmbeddingGradientAttributes>(EMBEDDING_GRADIENT, ({ dy, ids }, { rows }) => {
  const width = dy.shape[dy.rank - 1] as number;
  if (dy.size === 0) {
    return zeros([rows, width]);
  }
  return unsortedSegmentSum(reshape(dy, [ids.size, width]), reshape(ids, [ids.size]), rows);
});

/** Whether the current engine can write into a tensor. */
export function canWriteRows(): boolean {
  return getKernel(WRITE_ROWS, getBackend()) !== undefined;
}

/**
 * Sets rows at … at + count - 1 of the buffer to `rows`. Views of the buffer, such as slices, may change too, so
 * dispose of them before the call.
 * @param buffer float32 (..., rows, width), changed
 * @param rows float32 (..., count, width), with the leading dimensions and the width of the buffer
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
  runKernel(WRITE_ROWS, { buffer, rows }, { at });
}

/**
 * Sets the rows `ids` of the buffer to `rows`, as `writeRows` does with consecutive rows.
 * @param buffer float32 (rows, width), changed
 * @param rows float32 (count, width)
 * @param ids int32 (count), each from 0 to rows - 1, all different; an id out of range is an error on the CPU, undefined
 * on a GPU
 * @throws ShapeError when an operand does not fit
 */
export function scatterRows(buffer: Variable, rows: Tensor, ids: Tensor): void {
  if (!canWriteRows()) throw new ShapeError(`scatterRows: engine "${getBackend()}" cannot write into a tensor`);
  expectOperand("scatterRows", { buffer }, { dtype: "float32", shape: ["rows", "width"] });
  expectOperand("scatterRows", { ids }, { dtype: "int32", shape: ["count"] });
  expectOperand("scatterRows", { rows }, { dtype: "float32", shape: [ids.size, buffer.shape[1] as number] });
  runKernel(SCATTER_ROWS, { buffer, rows, ids });
}
