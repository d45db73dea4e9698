// Shared by image classifiers: class logits by any architecture, the head, and the embedding of non-overlapping patches.

import {
  add,
  conv2d,
  reshape,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
  tidy,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";
import { linear } from "../../engine/ops/index.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import { type ClassifierOptions, imageTaskOf, type LayerSource } from "../task.ts";

/**
 * The logits of a classifier.
 * @param images float32 (batch, height, width, colors), normalized as imageSettings says
 * @returns float32 (batch, classes)
 * @throws ShapeError when images are of another size than the model's; EngineError when it takes no images
 */
export const classifierLogits = (model: LayerSource, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D =>
  imageTaskOf(model).logits(model, images, options);

/** A linear map that stays dense. @param name parameters `weight` (n_out, n_in) and `bias` @param x float32 (batch, n_in) */
export const applyHead = (model: Pick<LayerSource, "parameter">, name: string, x: Tensor): Tensor2D =>
  linear(x, model.parameter(`${name}.weight`), model.parameter(`${name}.bias`)) as Tensor2D;

/**
 * @param name parameters `weight` (patch, patch, colors, n) and `bias` (n)
 * @returns float32 (batch, patches, n), patches row by row
 */
export function embedPatches(
  model: Pick<LayerSource, "parameter">,
  name: string,
  { images, patch }: { images: Tensor4D; patch: number },
): Tensor3D {
  return tidy(() => {
    const embedded = conv2d(images, model.parameter(`${name}.weight`) as unknown as Tensor4D, patch, "valid");
    const [batch, rows, columns, width] = embedded.shape;
    return add(reshape(embedded, [batch, rows * columns, width]), model.parameter(`${name}.bias`));
  });
}

/** @throws ShapeError unless images are as large as the model was made for */
export function expectImages(
  what: string,
  images: Tensor4D,
  { image, colors }: { image: number; colors: number },
): void {
  expectOperand(what, { images }, { dtype: "float32", shape: ["batch", "height", "width", colors] });
  const [, height, width] = images.shape;
  if (height === image && width === image) return;
  throw new ShapeError(`${what}: images must be ${image} × ${image}, as the model's, got ${height} × ${width}`);
}
