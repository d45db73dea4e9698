// Attention of one query each of several sequences over keys and values in pages, as when texts are generated in a batch
// (PagedAttention; Kwon et al. 2023). The pools of keys and of values have rows of all sequences. A page is `size`
// consecutive rows, and each sequence has a list of pages. Only the torch backend on the CPU has this op.

import { backend, getBackend, getKernel, type Tensor } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import { PAGED_ATTENTION } from "./kernels.ts";
import { runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Keys and values in pages. */
export interface Pages {
  /** pool of keys, float32 (rows, key_heads · head_dim) */
  k: Tensor;
  /** pool of values, like k */
  v: Tensor;
  /** pages of each sequence in their order, int32 (sequences, most); those after the last one are not read */
  pages: Tensor;
  /** number of keys of each sequence, int32 (sequences) */
  lengths: Tensor;
}

/** Options of `pagedAttention`. */
export interface PagedAttentionOptions {
  /** rows of a page */
  size: number;
  /** factor of q·k; default 1/√head_dim */
  scale?: number;
  /** number of latest keys that a query attends to at most. Default: all */
  window?: number;
}

/** Whether the current engine has `pagedAttention`. */
export function canAttendPages(): boolean {
  if (getKernel(PAGED_ATTENTION, getBackend()) === undefined) return false;
  return (backend() as { device?: string }).device === "cpu";
}

/**
 * Scaled dot-product attention of one query of each sequence, which comes after all its keys. Heads are grouped as by
 * `attention`. It has no gradient.
 * @param q float32 (1, heads, sequences, head_dim)
 * @returns float32 (1, heads, sequences, head_dim)
 * @throws ShapeError when an operand does not fit, or the engine does not have this op
 */
export function pagedAttention(q: Tensor, { k, v, pages, lengths }: Pages, options: PagedAttentionOptions): Tensor {
  if (!canAttendPages()) throw new ShapeError(`pagedAttention: engine "${getBackend()}" does not have it`);
  expectOperand("pagedAttention", { q }, { dtype: "float32", shape: [1, "heads", "sequences", "head_dim"] });
  const [, heads, sequences, headDim] = q.shape as [number, number, number, number];
  expectOperand("pagedAttention", { k }, { dtype: "float32", shape: ["rows", "key_heads · head_dim"] });
  expectOperand("pagedAttention", { v }, { dtype: "float32", shape: k.shape });
  expectOperand("pagedAttention", { pages }, { dtype: "int32", shape: [sequences, "pages"] });
  expectOperand("pagedAttention", { lengths }, { dtype: "int32", shape: [sequences] });
  const { size, scale = 1 / Math.sqrt(headDim), window = Number.POSITIVE_INFINITY } = options;
  const keyHeads = (k.shape[1] as number) / headDim;
  const divides = Number.isInteger(keyHeads) && keyHeads > 0 && heads % keyHeads === 0;
  if (!divides) {
    throw new ShapeError(`pagedAttention: ${k.shape[1]} numbers per key do not fit ${heads} heads of ${headDim}`);
  }
  const isWindow = window === Number.POSITIVE_INFINITY || (Number.isInteger(window) && window > 0);
  expectSetting("pagedAttention", { window }, "a positive integer", isWindow);
  return runKernel(PAGED_ATTENTION, { q, k, v, pages, lengths }, { size, scale, window })[0] as Tensor;
}
