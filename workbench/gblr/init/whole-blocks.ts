// The end of a block search: widths and locations set to the whole samples they stand for, blocks that evaluation would
// drop set to nothing, and the error of just that matrix.

import {
  div,
  matMul,
  mul,
  reshape,
  sqrt,
  square,
  squaredDifference,
  sum,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
} from "@tensorflow/tfjs-core";
import { gaudiMask } from "../mask.ts";
import { samples } from "../rounding.ts";
import { blockCount, type Sides } from "./block-budget.ts";
import type { EngineFit } from "./engine-fit.ts";
import type { FittedBlocks } from "./truncated-svd.ts";

/** @param weight M, float32 (n_out, n_in) */
export async function wholeBlocks(weight: Tensor2D, fit: EngineFit): Promise<FittedBlocks> {
  const { sides } = fit;
  const blocks = fit.widths.length / 2;
  const { widths, locations } = inWholeSamples(fit, sides);
  const { tensors, error } = tidy(() => {
    const root = 1 / Math.sqrt(fit.scale);
    const [inputs, outputs] = fit.current().map((factor) => mul(factor, root) as Tensor2D) as [Tensor2D, Tensor2D];
    const mask = (from: number, length: number) => {
      const half = (values: Float32Array) => tensor1d(values.slice(from, from + blocks)) as Tensor1D;
      return gaudiMask(half(widths), half(locations), length);
    };
    const dense = matMul(
      mul(mask(blocks, sides.nOut), outputs) as Tensor2D,
      mul(mask(0, sides.nIn), inputs) as Tensor2D,
      true,
    );
    const distance = sum(sum(squaredDifference(dense, weight), 1));
    return {
      error: sqrt(div(distance, sum(sum(square(weight), 1)))),
      tensors: {
        lr_weight1: reshape(inputs, [blocks, 1, sides.nIn]),
        lr_weight2: reshape(outputs, [blocks, sides.nOut, 1]),
        widths: tensor2d(widths, [2, blocks]),
        locations: tensor2d(locations, [2, blocks]),
      },
    };
  });
  const [value = 0] = await error.data();
  error.dispose();
  return { parameters: tensors, error: value, count: blockCount(widths, sides) };
}

function inWholeSamples({ widths, locations }: EngineFit, { nIn, nOut }: Sides) {
  const blocks = widths.length / 2;
  const whole = { widths: new Float32Array(2 * blocks), locations: new Float32Array(2 * blocks) };
  for (let k = 0; k < blocks; k++) {
    const a = samples(widths[k] as number, nIn);
    const b = samples(widths[blocks + k] as number, nOut);
    // Evaluation drops a window of one sample, unless that is the whole side.
    const live = (a > 1 || a === nIn) && (b > 1 || b === nOut) && a > 0 && b > 0;
    whole.widths[k] = live ? a / nIn : 0;
    whole.widths[blocks + k] = live ? b / nOut : 0;
    whole.locations[k] = (samples(locations[k] as number, nIn) % nIn) / nIn;
    whole.locations[blocks + k] = (samples(locations[blocks + k] as number, nOut) % nOut) / nOut;
  }
  return whole;
}
