// Images cut into patches that do not overlap, each embedded by one linear map: how transformers and mixers begin.

import { add, conv2d, reshape, type Tensor3D, type Tensor4D, tidy } from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import type { LayerSource } from "../task.ts";

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
