// Dropout in a forward pass from one seed: each place that drops gets its own seed, numbered in the order in which places
// run. Without a seed nothing is dropped.

import { mul, ones, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { dropout } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";

export interface DropAt {
  /** drops each entry of x with probability `rate` and scales up the others */
  (x: Tensor, rate: number): Tensor;
  /** whether this pass drops anything */
  readonly active: boolean;
}

/** More places than any model has, so that passes with different seeds share no place's seed. */
const PLACES = 2 ** 16;
const LARGEST_SEED = Math.floor(Number.MAX_SAFE_INTEGER / PLACES) - 1;

/** @throws ShapeError when the seed is no whole number from 0 to 2^37 - 2 */
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
 * Stochastic depth (Huang et al. 2016): drops the output of half a block for some images and scales it up for the others.
 * @param x float32 (batch, …)
 */
export function dropPath(x: Tensor, { drop, rate }: { drop: DropAt; rate: number }): Tensor {
  if (!drop.active || rate === 0) return x;
  return tidy(() => mul(x, drop(ones([x.shape[0] as number, ...x.shape.slice(1).map(() => 1)]), rate)));
}
