// The truncated singular value decomposition of a matrix as blocks of full width: what any search within the same budget
// has to beat.

import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import type { GblrParameters } from "../parameters.ts";
import { locationsByRule } from "./location-rules.ts";
import { svdFactors } from "./svd-factors.ts";

export interface FittedBlocks {
  /** K = min(n_out, n_in) blocks of rank 1, no bias */
  parameters: GblrParameters;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** Σ (width_in + width_out) in samples */
  count: number;
}

/**
 * As many of the first singular triples as the count allows, at full width; the others keep their factors at width 0.
 *
 * @param weight M, float32 (n_out, n_in)
 * @param allowed most parameters
 */
export async function truncatedSvd(weight: Tensor2D, allowed: number): Promise<FittedBlocks> {
  const [nOut, nIn] = weight.shape;
  const blocks = Math.min(nOut, nIn);
  const rank = Math.min(blocks, Math.floor(allowed / (nOut + nIn)));
  const { lr_weight1, lr_weight2, singularValues } = await svdFactors(weight);
  const squares = Float64Array.from(await singularValues.data(), (value) => value * value);
  singularValues.dispose();
  const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
  const widths = tensor2d(
    Float32Array.from({ length: 2 * blocks }, (_, i) => (i % blocks < rank ? 1 : 0)),
    [2, blocks],
  );
  const locations = locationsByRule("linspace", { blocks });
  const left = sum(squares.subarray(rank));
  return {
    parameters: { lr_weight1, lr_weight2, widths, locations },
    error: left === 0 ? 0 : Math.sqrt(left / sum(squares)),
    count: rank * (nOut + nIn),
  };
}
