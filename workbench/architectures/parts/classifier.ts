// Images to class logits by any of the architectures that do that, and the head that they end with.

import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { linear } from "../../engine/ops/index.ts";
import { type ClassifierOptions, imageTaskOf, type LayerSource } from "../task.ts";

/**
 * @param images float32 (batch, height, width, colors), normalized as imageSettings says
 * @returns float32 (batch, classes)
 * @throws ShapeError when images are of another size than the model's; EngineError when it classifies no images
 */
export const classifierLogits = (model: LayerSource, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D =>
  imageTaskOf(model).logits(model, images, options);

/** A linear map that stays dense. @param name parameters `weight` (n_out, n_in) and `bias` @param x float32 (batch, n_in) */
export const applyHead = (model: Pick<LayerSource, "parameter">, name: string, x: Tensor): Tensor2D =>
  linear(x, model.parameter(`${name}.weight`), model.parameter(`${name}.bias`)) as Tensor2D;
