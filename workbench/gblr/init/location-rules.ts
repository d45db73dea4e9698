// Starting locations by name: `linspace`, `uniform`, `const0.25`. Looks at no matrix.

import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import { seededUniform } from "./seeded-uniform.ts";

export interface LocationOptions {
  /** K, blocks */
  blocks: number;
  /** of `uniform`: the same seed gives the same locations. Default 0 */
  seed?: number;
}

/**
 * - `linspace`: k / K on both sides
 * - `uniform`: drawn from [0, 1), each side by itself
 * - `constX`: X everywhere, from 0 to below 1
 *
 * @returns float32 (2, K), row 0 the input side
 * @throws EngineError when the rule is none of these
 */
export function locationsByRule(rule: string, { blocks, seed = 0 }: LocationOptions): Tensor2D {
  return tensor2d(values(rule, blocks, seed), [2, blocks], "float32");
}

function values(rule: string, blocks: number, seed: number): Float32Array {
  if (rule === "linspace") {
    return Float32Array.from({ length: 2 * blocks }, (_, i) => (i % blocks) / blocks);
  }
  if (rule === "uniform") {
    const uniform = seededUniform(seed);
    return Float32Array.from({ length: 2 * blocks }, uniform);
  }
  const constant = /^const(\d+\.?\d*|\.\d+)$/.exec(rule);
  const location = Number(constant?.[1] ?? Number.NaN);
  if (!(location >= 0 && location < 1)) {
    throw new EngineError(
      `no location rule "${rule}": there is linspace, uniform and constX`,
      "give one of them, with X from 0 to below 1",
    );
  }
  return new Float32Array(2 * blocks).fill(location);
}
