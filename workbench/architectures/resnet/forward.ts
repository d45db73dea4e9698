// The forward pass of a residual network, from images to logits (He et al. 2016).

import { add, maxPool, mean, relu, type Tensor, type Tensor2D, type Tensor4D, tidy } from "@tensorflow/tfjs-core";
import { expectOperand } from "../../engine/ops/operands.ts";
import { applyHead } from "../parts/classifier.ts";
import { dropPath, dropper } from "../parts/dropout.ts";
import { normalizeBatch } from "../parts/norms.ts";
import type { ClassifierOptions, LayerSource } from "../task.ts";
import type { ResnetConfig } from "./config.ts";

type Resnet = LayerSource<ResnetConfig>;

/**
 * Computes the logits of a ResNet.
 * @param images float32 (batch, height, width, colors), normalized
 * @returns logits, float32 (batch, classes)
 */
export function resnetLogits(model: Resnet, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D {
  const { colors, block: kind, stages, dropout } = model.config;
  expectOperand("resnet", { images }, { dtype: "float32", shape: ["batch", "height", "width", colors] });
  const { training = false, dropPath: mostDropped = model.config.dropPath } = options;
  return tidy(() => {
    const drop = dropper(training ? options.seed : undefined);
    const convolved = (name: string, x: Tensor) =>
      tidy(() => normalizeBatch(model, normOf(name), { x: model.convolution(name, x as Tensor4D), training }));
    let x: Tensor = tidy(() => maxPool(relu(convolved("conv1", images)) as Tensor4D, 3, 2, 1));
    const blocks = stages.flatMap((stage, i) => Array.from({ length: stage.blocks }, (_, j) => `layer${i + 1}.${j}`));
    for (const [at, block] of blocks.entries()) {
      const rate = (mostDropped * at) / Math.max(1, blocks.length - 1);
      x = tidy(() => {
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
    }
    return applyHead(model, "fc", drop(mean(x, [1, 2]), dropout));
  });
}

/** Name of the normalization after a convolution: `bn1` for `conv1`, `downsample.1` for `downsample.0`. */
export const normOf = (convolution: string): string =>
  convolution.replace(/conv(\d+)$/, "bn$1").replace(/downsample\.0$/, "downsample.1");
