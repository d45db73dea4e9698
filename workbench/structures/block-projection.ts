// The nearest matrix whose blocks all have one rank: each block to its largest singular triples, √s on each side.
// As blocks share no entry, blockwise nearest is nearest (Dao et al. 2022, arXiv 2204.00595, theorem 1).

import {
  mul,
  reshape,
  slice,
  sqrt,
  stack,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { type BlockFactors, cut, filled, type RowOrder } from "./block-factors.ts";

export interface BlockGridOptions {
  /** J = K, blocks on each side */
  blocks: number;
  /** of each block, at most ⌈n_out / blocks⌉ and ⌈n_in / blocks⌉ */
  rank: number;
  order: RowOrder;
}

/** @param weight float32 (n_out, n_in) */
export async function projectBlocks(weight: Tensor2D, options: BlockGridOptions): Promise<BlockFactors> {
  const { blocks, rank, order } = options;
  const [nOut, nIn] = weight.shape;
  const grid = blockGrid(weight, options);
  const [, , height, width] = grid.shape;
  const lefts: Tensor2D[] = [];
  const rights: Tensor2D[] = [];
  for (let at = 0; at < blocks * blocks; at++) {
    const [j, k] = [Math.floor(at / blocks), at % blocks];
    const block = tidy(() => reshape(slice(grid, [j, k, 0, 0], [1, 1, height, width]), [height, width]) as Tensor2D);
    const { u, s, v } = await svd(block, { rank });
    const [left, right] = tidy(() => [mul(u, sqrt(s)), mul(v, sqrt(s))]) as [Tensor2D, Tensor2D];
    lefts.push(left);
    rights.push(right);
    for (const tensor of [block, u, s, v]) {
      tensor.dispose();
    }
  }
  const factors = tidy(() => {
    // (J, K, s, r) → (s, J, K, r) or (J, s, K, r), and (J, K, p, r) → (K, p, r, J)
    const outputs = reshape(stack(lefts), [blocks, blocks, height, rank]);
    const inputs = reshape(stack(rights), [blocks, blocks, width, rank]);
    const rows = transpose(outputs, order === "strided" ? [2, 0, 1, 3] : [0, 2, 1, 3]);
    const columns = transpose(inputs, [1, 2, 3, 0]);
    return {
      first: cut(reshape(columns, [-1, rank, blocks]) as Tensor3D, 0, nIn),
      second: cut(reshape(rows, [-1, blocks, rank]) as Tensor3D, 0, nOut),
    };
  });
  for (const tensor of [grid, ...lefts, ...rights]) {
    tensor.dispose();
  }
  return factors;
}

/** weight (n_out, n_in), filled up, → (J, K, s, p). */
function blockGrid(weight: Tensor2D, { blocks, order }: BlockGridOptions): Tensor4D {
  const [nOut, nIn] = weight.shape;
  const [height, width] = [Math.ceil(nOut / blocks), Math.ceil(nIn / blocks)];
  return tidy(() => {
    const whole = filled(filled(weight, 0, height * blocks), 1, width * blocks);
    return order === "strided"
      ? transpose(reshape(whole, [height, blocks, blocks, width]) as Tensor4D, [1, 2, 0, 3])
      : transpose(reshape(whole, [blocks, height, blocks, width]) as Tensor4D, [0, 2, 1, 3]);
  });
}
