// Functions that image classifiers share: logits for any architecture, the head, and the embedding of non-overlapping
// patches.

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
 * Computes the logits of a classifier.
 * @param images float32 (batch, height, width, colors), normalized by `mean` and `std` of ImageSettings
 * @returns float32 (batch, classes)
 * @throws ShapeError if the images have another size than the model's; EngineError if the model takes no images
 */
export const classifierLogits = (model: LayerSource, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D =>
  imageTaskOf(model).logits(model, images, options);

/**
 * Applies a linear map that stays dense.
 * @param name prefix of the parameters `weight` (n_out, n_in) and `bias` (n_out)
 * @param x float32 (batch, n_in)
 * @returns float32 (batch, n_out)
 */
export const applyHead = (model: Pick<LayerSource, "parameter">, name: string, x: Tensor): Tensor2D =>
  linear(x, model.parameter(`${name}.weight`), model.parameter(`${name}.bias`)) as Tensor2D;

/**
 * Embeds non-overlapping patches by a linear map.
 * @param name prefix of the parameters `weight` (patch, patch, colors, n) and `bias` (n)
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

/**
 * Checks the type and size of images, (batch, image, image, colors).
 * @param what name of the operation in errors
 * @throws ShapeError if they are not float32 or have another size than the model's
 */
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
