// embedding, the rows of a table picked by ids, with its gradient: a scatter-add into zeros, so that an id that
// occurs twice counts twice. Not sparse: the gradient is as large as the table, as AdamW's moments are anyway.

import { gather, reshape, type Tensor, unsortedSegmentSum, zeros } from "@tensorflow/tfjs-core";
import { differentiable, runKernel } from "./differentiable.ts";
import {
  EMBEDDING,
  EMBEDDING_GRADIENT,
  type EmbeddingGradientAttributes,
  type EmbeddingGradientInputs,
  type EmbeddingInputs,
} from "./kernels.ts";
import { expectOperand } from "./operands.ts";
import { registerPortable } from "./register.ts";

/**
 * y[i…] = table[ids[i…]].
 * @param table float32 (rows, width)
 * @param ids int32, any shape, each from 0 to rows-1; one outside is an error on the CPU, undefined on a GPU
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
