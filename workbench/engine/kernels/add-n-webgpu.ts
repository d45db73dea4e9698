// AddN of more tensors than a WebGPU program can bind: in portions, each with the sum so far. TensorFlow.js's own kernel
// binds them all at once, and what it returns then reads as zeros.

import * as tf from "@tensorflow/tfjs-core";

/** Wraps the WebGPU backend's own AddN. */
export function registerAddN(): void {
  const own = tf.getKernel(tf.AddN, "webgpu");
  if (!own) {
    throw new Error("registerAddN: backend webgpu has no kernel AddN");
  }
  tf.unregisterKernel(tf.AddN, "webgpu");
  tf.registerKernel({
    ...own,
    kernelFunc: (call) => {
      const tensors = call.inputs as unknown as tf.TensorInfo[];
      const backend = call.backend as tf.KernelBackend & { device: GPUDevice };
      // One binding is the output's.
      const most = backend.device.limits.maxStorageBuffersPerShaderStage - 1;
      const sum = (portion: tf.TensorInfo[]) =>
        own.kernelFunc({ ...call, inputs: portion as unknown as tf.NamedTensorInfoMap }) as tf.TensorInfo;
      let total = sum(tensors.slice(0, most));
      for (let next = most; next < tensors.length; next += most - 1) {
        const partial = total;
        total = sum([partial, ...tensors.slice(next, next + most - 1)]);
        backend.disposeData(partial.dataId);
      }
      return total;
    },
  });
}
