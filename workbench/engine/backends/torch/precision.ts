// What a kernel does about tensors that say float32 and may be held as bfloat16 (the engine's precision "bfloat16"): most
// operators promote by themselves or are told by autocast, these are for those that want all operands of one type.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type { Handle } from "./addon.ts";
import { aten } from "./aten.ts";
import type { TorchBackend } from "./backend.ts";

const cast = aten("to", "dtype");

/** The tensor in float32, for an operator that sums over many values or takes no bfloat16 beside float32. */
export function single<T extends TensorInfo | Handle>(x: T, backend: TorchBackend): T | Handle {
  return backend.mixed ? cast(x, "float32") : x;
}

/** The tensor in bfloat16 where the engine computes products in it. */
export function half<T extends TensorInfo | Handle>(x: T, backend: TorchBackend): T | Handle {
  return backend.mixed ? cast(x, "bfloat16") : x;
}

/** A tensor's like that is held as float32: the same to tfjs. */
export function singleInfo(x: TensorInfo, backend: TorchBackend): TensorInfo {
  if (!backend.mixed || x.dtype !== "float32") return x;
  return { shape: x.shape, dtype: x.dtype, dataId: { torch: { handle: cast(x, "float32"), references: 1 } } };
}
