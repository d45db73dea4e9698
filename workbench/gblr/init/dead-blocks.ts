// Blocks that count for nothing get the widths that published rules give such blocks: a single sample on one side in
// turn. They stay dead, yet have a gradient, where widths of 0 on both sides have none.

import { type Tensor, tensor2d } from "@tensorflow/tfjs-core";
import { samples } from "../rounding.ts";
import type { Sides } from "./block-budget.ts";

/**
 * @param widths (2, K), row 0 the input side; disposed of
 * @returns the same for live blocks
 */
export async function withGradients(widths: Tensor, { nIn, nOut }: Sides): Promise<Tensor> {
  const values = Float32Array.from(await widths.data());
  widths.dispose();
  const blocks = values.length / 2;
  let dead = 0;
  for (let k = 0; k < blocks; k++) {
    const isLive = samples(values[k] as number, nIn) > 1 && samples(values[blocks + k] as number, nOut) > 1;
    if (isLive) continue;
    values[k] = dead % 2 === 0 ? 1 / nIn : 0;
    values[blocks + k] = dead % 2 === 0 ? 0 : 1 / nOut;
    dead++;
  }
  return tensor2d(values, [2, blocks]);
}
