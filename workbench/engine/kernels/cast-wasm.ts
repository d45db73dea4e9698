// Identity and Cast for the wasm engine. Where nothing changes, both give the tensor's own data once more instead of a
// copy (every tensor that a gradient saves passes through Identity); a cast to bool asks whether a value is zero, where
// the backend would keep its lowest byte. Other casts are the backend's.

import * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "./wasm-memory.ts";

export function registerCast(): void {
  const own = tf.getKernel(tf.Cast, "wasm");
  const notEqual = tf.getKernel(tf.NotEqual, "wasm");
  if (!own || !notEqual) {
    throw new Error(`registerCast: the wasm backend has no kernel ${tf.Cast} or ${tf.NotEqual}`);
  }
  tf.unregisterKernel(tf.Identity, "wasm");
  tf.registerKernel({
    kernelName: tf.Identity,
    backendName: "wasm",
    kernelFunc: ({ inputs, backend }) => share(inputs.x as tf.TensorInfo, backend as WasmBackend),
  });
  const cast: tf.KernelFunc = ({ inputs, attrs, backend }) => {
    const x = inputs.x as tf.TensorInfo;
    const dtype = attrs?.dtype as tf.DataType;
    if (x.dtype === dtype) {
      return share(x, backend as WasmBackend);
    }
    return dtype === "bool"
      ? isNotZero(x, notEqual.kernelFunc, backend as WasmBackend)
      : own.kernelFunc({ inputs, attrs, backend });
  };
  tf.unregisterKernel(tf.Cast, "wasm");
  tf.registerKernel({ ...own, kernelFunc: cast });
}

function share({ dataId, shape, dtype }: tf.TensorInfo, backend: WasmBackend): tf.TensorInfo {
  backend.incRef(dataId);
  return { dataId, shape, dtype };
}

function isNotZero(x: tf.TensorInfo, notEqual: tf.KernelFunc, backend: WasmBackend): tf.TensorInfo | tf.TensorInfo[] {
  const values = tf.util.getTypedArrayFromDType(x.dtype as tf.NumericDataType, 1);
  const zero = { dataId: backend.write(values, [], x.dtype), shape: [], dtype: x.dtype };
  const result = notEqual({ inputs: { a: x, b: zero }, attrs: {}, backend });
  backend.disposeData(zero.dataId);
  return result;
}
