// Images as what a network takes, a tensor a forward pass: what a calibration is fed. Labels are not looked at.

import { type Tensor4D, tensor4d } from "@tensorflow/tfjs-core";
import type { ImageLoader } from "../data/images/index.ts";

/** In their order, float32 (images, size, size, 3), for the caller to dispose of. */
export async function* imageInputs(
  loader: ImageLoader,
  options: { batch: number; limit?: number },
): AsyncGenerator<Tensor4D> {
  for await (const { pixels, items, size } of loader.batches(options)) {
    yield tensor4d(pixels, [items.length, size, size, 3]);
  }
}
