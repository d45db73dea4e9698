// attention over ATen: the fused kernels of scaled-dot-product.ts where they take the operands, else matrix products
// with a softmax between, causal attention then some queries at a time with only the keys that they see.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, enterArena, leaveArena } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";
import { chooseKernel } from "./scaled-dot-product.ts";

const reshape = aten("reshape");
const narrow = aten("narrow");
const transpose = aten("transpose", "int");
const product = aten("bmm");
const softmax = aten("_softmax");
const softmaxInto = aten("_softmax", "out");
const concatenate = aten("cat");
const newFull = aten("new_full");
const upperTriangle = aten("triu");
const zerosLike = aten("zeros_like");
const add = aten("add_", "Tensor");
const subtract = aten("sub_", "Tensor");
const multiply = aten("mul_", "Tensor");
const scaled = aten("mul", "Scalar");
const elementProduct = aten("mul", "Tensor");
const sum = aten("sum", "dim_IntList");

// Queries at a time. At 1024 tokens half as many products as all at once; smaller blocks lose it again in overhead.
const CAUSAL_BLOCK = 256;

interface Block {
  /** the first query */
  start: number;
  queries: number;
  /** how many keys, from the first, these queries see */
  keys: number;
}

function blocksOf(q: TensorInfo, k: TensorInfo, causal: boolean, backend: TorchBackend): Block[] {
  const [tokens, keyTokens] = [q.shape[2] as number, k.shape[2] as number];
  if (!causal || backend.device !== "cpu" || tokens <= CAUSAL_BLOCK) {
    return [{ start: 0, queries: tokens, keys: keyTokens }];
  }
  const blocks: Block[] = [];
  for (let start = 0; start < tokens; start += CAUSAL_BLOCK) {
    const queries = Math.min(CAUSAL_BLOCK, tokens - start);
    blocks.push({ start, queries, keys: start + queries + keyTokens - tokens });
  }
  return blocks;
}

/** (batch, heads, tokens, width) → (batch · heads, tokens, width) */
function merged(x: TensorInfo): Handle {
  const [batch, heads, tokens, width] = x.shape as [number, number, number, number];
  return reshape(x, [batch * heads, tokens, width]);
}

const rowsOf = (x: Handle, start: number, count: number): Handle => narrow(x, 1, start, count);

/** Frees what `body` makes; what it changes in place stays. */
function scoped(body: () => void): void {
  const mark = enterArena();
  try {
    body();
  } finally {
    leaveArena(mark, undefined);
  }
}

/** Of a block: scale q kᵀ, with the keys that come after a query hidden. */
function scoresOf(q: Handle, k: Handle, { queries, keys }: Block, attributes: names.AttentionAttributes): Handle {
  const scores = product(scaled(q, attributes.scale), transpose(k, 1, 2));
  if (attributes.causal && queries > 1) {
    // Only the last `queries` keys can come too late for any of them.
    const hidden = upperTriangle(newFull(scores, [queries, queries], Number.NEGATIVE_INFINITY), 1);
    add(narrow(scores, 2, keys - queries, queries), hidden);
  }
  return scores;
}

function forward(
  { q, k, v }: names.AttentionInputs,
  attributes: names.AttentionAttributes,
  backend: TorchBackend,
): Handle[] {
  const [qs, ks, vs] = [merged(q), merged(k), merged(v)];
  const weights: Handle[] = [];
  const outputs: Handle[] = [];
  for (const block of blocksOf(q, k, attributes.causal, backend)) {
    const { start, queries, keys } = block;
    const scores = scoresOf(rowsOf(qs, start, queries), rowsOf(ks, 0, keys), block, attributes);
    // On the CPU in place: the scores are the largest tensor here.
    const p = backend.device === "cpu" ? softmaxInto(scores, -1, false, scores) : softmax(scores, -1, false);
    weights.push(p);
    outputs.push(product(p, rowsOf(vs, 0, keys)));
  }
  const y = outputs.length === 1 ? (outputs[0] as Handle) : concatenate(outputs, 1);
  return [reshape(y, [...q.shape.slice(0, 3), v.shape[3] as number]), ...(attributes.keepResiduals ? weights : [])];
}

// With P the probabilities and dP = dy vᵀ: dS = P (dP - Σ dy y), as in FlashAttention (Dao et al. 2022, appendix B.2).
function backward(
  inputs: names.AttentionGradientInputs,
  { causal, scale }: names.AttentionAttributes,
  backend: TorchBackend,
): Handle[] {
  const { q, k, v } = inputs;
  const [qs, ks, vs, outer] = [merged(q), merged(k), merged(v), merged(inputs.dy)];
  const rowSums = sum(elementProduct(outer, merged(inputs.y)), [-1], true);
  const [dq, dk, dv] = [zerosLike(qs), zerosLike(ks), zerosLike(vs)];
  for (const [index, { start, queries, keys }] of blocksOf(q, k, causal, backend).entries()) {
    const p = inputs[`residual${index}`] as TensorInfo;
    scoped(() => {
      const dy = rowsOf(outer, start, queries);
      const dScores = product(dy, transpose(rowsOf(vs, 0, keys), 1, 2));
      subtract(dScores, rowsOf(rowSums, start, queries));
      multiply(dScores, p);
      add(rowsOf(dq, start, queries), product(dScores, rowsOf(ks, 0, keys)), scale);
      add(rowsOf(dk, 0, keys), product(transpose(dScores, 1, 2), rowsOf(qs, start, queries)), scale);
      add(rowsOf(dv, 0, keys), product(transpose(p, 1, 2), dy));
    });
  }
  return [reshape(dq, q.shape), reshape(dk, k.shape), reshape(dv, v.shape)];
}

export const fusedAttention: KernelTable = {
  [names.ATTENTION]: fusedKernel<names.AttentionInputs, names.AttentionAttributes>((inputs, attributes, backend) => {
    const fused = chooseKernel(inputs, attributes, backend);
    return fused ? fused.forward(inputs, attributes, backend) : forward(inputs, attributes, backend);
  }),
  [names.ATTENTION_GRADIENT]: fusedKernel<names.AttentionGradientInputs, names.AttentionAttributes>(
    (inputs, attributes, backend) => {
      const fused = chooseKernel(inputs, attributes, backend);
      return fused ? fused.backward(inputs, attributes, backend) : backward(inputs, attributes, backend);
    },
  ),
};
