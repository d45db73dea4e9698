// The energies of a layer for allocation by the loss. Its nearest matrix of rank r in outputs leaves out the singular
// triples i > r of W Σ^½. With left vectors uᵢ and values sᵢ, the estimate of sensitivity.ts is a sum over these triples,
//
//   ½ rows · tr(G E Σ Eᵀ) = ½ rows Σᵢ sᵢ² uᵢᵀ G uᵢ,  E = Σᵢ uᵢ uᵢᵀ W,
//
// because uᵢ are eigenvectors of W Σ Wᵀ.

import { matMul, mul, sum, type Tensor1D, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import type { Sensitivity } from "./sensitivity.ts";

/** A sensitivity with G, float32 (n_out, n_out). */
export type OutputSensitivity = Pick<Sensitivity, "rows"> & { outputs: Tensor2D };

/**
 * The predicted increase of the loss, per term of the loss, without each singular triple.
 * @param weight W, float32 (n_out, n_in)
 * @param options.vectors uᵢ as columns, (n_out, k)
 * @param options.covariance Σ, (n_in, n_in)
 * @returns k numbers, each at least 0
 */
export async function lossEnergies(
  weight: Tensor2D,
  { vectors, covariance, felt }: { vectors: Tensor2D; covariance: Tensor2D; felt: OutputSensitivity },
): Promise<Float32Array> {
  const energies = tidy(() => {
    const form = (rows: Tensor2D, matrix: Tensor2D) => sum(mul(matMul(rows, matrix), rows), 1);
    const inputs = matMul<Tensor2D>(vectors, weight, true);
    const gradients = sum(mul(matMul(felt.outputs, vectors), vectors), 0);
    return mul(form(inputs, covariance), gradients) as Tensor1D;
  });
  const values = await energies.data();
  energies.dispose();
  // Rounding can make energies slightly negative.
  return Float32Array.from(values, (value) => Math.max(0, 0.5 * felt.rows * value));
}
