// The forward pass of a residual network, from images to logits (He et al. 2016).

import {
  add,
  clone,
  maxPool,
  mean,
  relu,
  type Tensor,
  type Tensor2D,
  type Tensor4D,
  tidy,
} from "@tensorflow/tfjs-core";
import { expectOperand } from "../../engine/ops/operands.ts";
import { applyHead } from "../parts/classifier.ts";
import { type DropAt, dropPath, dropper } from "../parts/dropout.ts";
import { normalizeBatch } from "../parts/norms.ts";
import type { ClassifierOptions, LayerSource, Step, Stepwise } from "../task.ts";
import type { ResnetConfig } from "./config.ts";

type Resnet = LayerSource<ResnetConfig>;

/**
 * Computes the logits of a ResNet.
 * @param images float32 (batch, height, width, colors), normalized
 * @returns logits, float32 (batch, classes)
 */
export function resnetLogits(model: Resnet, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D {
  const { colors, dropout } = model.config;
  expectOperand("resnet", { images }, { dtype: "float32", shape: ["batch", "height", "width", colors] });
  const { training = false, dropPath: mostDropped = model.config.dropPath } = options;
  return tidy(() => {
    const drop = dropper(training ? options.seed : undefined);
    let x: Tensor = images;
    for (const step of stepsOf(model, { drop, mostDropped, training })) x = tidy(() => step(x));
    return applyHead(model, "fc", drop(mean(x as Tensor4D, [1, 2]), dropout));
  });
}

/** The forward pass up to the pooling, in steps: the stem, and the blocks. */
export const resnetStepwise: Stepwise<ResnetConfig> = {
  start: (_, images) => clone(images),
  steps: (model) => stepsOf(model, { drop: dropper(undefined), mostDropped: 0, training: false }),
};

interface StepOptions {
  drop: DropAt;
  mostDropped: number;
  training: boolean;
}

function stepsOf(model: Resnet, { drop, mostDropped, training }: StepOptions): Step[] {
  const { block: kind, stages } = model.config;
  const convolved = (name: string, x: Tensor) =>
    tidy(() => normalizeBatch(model, normOf(name), { x: model.convolution(name, x as Tensor4D), training }));
  const stem = (images: Tensor) => maxPool(relu(convolved("conv1", images)) as Tensor4D, 3, 2, 1);
  const blocks = stages.flatMap((stage, i) => Array.from({ length: stage.blocks }, (_, j) => `layer${i + 1}.${j}`));
  const steps = blocks.map((block, at) => (x: Tensor) => {
    const rate = (mostDropped * at) / Math.max(1, blocks.length - 1);
    let inner = x;
    for (const [i, { name }] of kind.convolutions.entries()) {
      const isLast = i === kind.convolutions.length - 1;
      const input = inner;
      inner = tidy(() => {
        const output = convolved(`${block}.${name}`, input);
        return isLast ? output : relu(output);
      });
    }
    const residual = dropPath(inner, { drop, rate });
    const shortcut = `${block}.downsample.0`;
    return relu(add(residual, model.hasLayer(shortcut) ? convolved(shortcut, x) : x));
  });
  return [stem, ...steps];
}

/** Name of the normalization after a convolution: `bn1` for `conv1`, `downsample.1` for `downsample.0`. */
export const normOf = (convolution: string): string =>
  convolution.replace(/conv(\d+)$/, "bn$1").replace(/downsample\.0$/, "downsample.1");
