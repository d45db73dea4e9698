// Dropout throughout a forward pass from one seed: each place that drops gets a seed of its own, in the order in which
// they run. Without a seed nothing drops.

import type { Tensor } from "@tensorflow/tfjs-core";
import { dropout } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";

export interface DropAt {
  /** x with the chance `rate` of each entry to be dropped */
  (x: Tensor, rate: number): Tensor;
  /** whether this pass drops anything */
  readonly active: boolean;
}

/** More than any model has: two passes with different seeds share none. */
const PLACES = 2 ** 16;
const LARGEST_SEED = Math.floor(Number.MAX_SAFE_INTEGER / PLACES) - 1;

/** @throws ShapeError when the seed is no whole number from 0 to 2^37 - 2 */
export function dropper(seed: number | undefined): DropAt {
  if (seed === undefined) return Object.assign((x: Tensor) => x, { active: false });
  const isSeed = Number.isInteger(seed) && seed >= 0 && seed <= LARGEST_SEED;
  expectSetting("gpt2", { dropoutSeed: seed }, `a whole number from 0 to ${LARGEST_SEED}`, isSeed);
  let place = 0;
  const drop = (x: Tensor, rate: number) => {
    const own = seed * PLACES + place++;
    return rate === 0 ? x : dropout(x, { rate, seed: own });
  };
  return Object.assign(drop, { active: true });
}
