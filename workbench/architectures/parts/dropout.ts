// Dropout in a forward pass from one seed. Each call of dropout in the pass has a seed of its own, which is derived
// from the seed of the pass and the number of the call. Without a seed nothing is dropped.

import { mul, ones, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { dropout } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";

/** The dropout function of one forward pass. */
export interface DropAt {
  /** Sets each entry of x to 0 with probability `rate`, and divides the others by 1 − rate. */
  (x: Tensor, rate: number): Tensor;
  /** whether this pass has a seed; if not, x is returned unchanged */
  readonly active: boolean;
}

/** Number of seeds reserved for a pass. It exceeds the calls of dropout in any model, so passes do not share seeds. */
const PLACES = 2 ** 16;
const LARGEST_SEED = Math.floor(Number.MAX_SAFE_INTEGER / PLACES) - 1;

/**
 * The dropout function of one forward pass.
 * @param seed a whole number from 0 to 2^37 - 2; undefined: nothing is dropped
 * @throws ShapeError if the seed is outside this range
 */
export function dropper(seed: number | undefined): DropAt {
  if (seed === undefined) return Object.assign((x: Tensor) => x, { active: false });
  const isSeed = Number.isInteger(seed) && seed >= 0 && seed <= LARGEST_SEED;
  expectSetting("dropout", { seed }, `a whole number from 0 to ${LARGEST_SEED}`, isSeed);
  let place = 0;
  const drop = (x: Tensor, rate: number) => {
    const own = seed * PLACES + place++;
    return rate === 0 ? x : dropout(x, { rate, seed: own });
  };
  return Object.assign(drop, { active: true });
}

/**
 * Stochastic depth (Huang et al. 2016): with probability `rate`, the output of a residual branch is set to 0 for a
 * whole image; for the other images it is divided by 1 − rate.
 * @param x float32 (batch, …), output of the branch
 */
export function dropPath(x: Tensor, { drop, rate }: { drop: DropAt; rate: number }): Tensor {
  if (!drop.active || rate === 0) return x;
  return tidy(() => mul(x, drop(ones([x.shape[0] as number, ...x.shape.slice(1).map(() => 1)]), rate)));
}
