// UnsortedSegmentSum on the webgpu engine with numbers outside the range: TensorFlow.js's program takes them modulo the
// number of segments, where every other backend leaves their rows out. The sum itself is the program's.

import * as tf from "@tensorflow/tfjs-core";

/** Wraps the backend's own kernel. */
export function registerSegmentSum(): void {
  const own = tf.getKernel(tf.UnsortedSegmentSum, "webgpu");
  if (!own) {
    throw new Error(`registerSegmentSum: the webgpu backend has no kernel ${tf.UnsortedSegmentSum}`);
  }
  tf.unregisterKernel(tf.UnsortedSegmentSum, "webgpu");
  tf.registerKernel({
    ...own,
    kernelFunc: (call) => {
      const { x, segmentIds } = call.inputs as unknown as { x: tf.Tensor; segmentIds: tf.Tensor };
      const { numSegments } = call.attrs as unknown as { numSegments: number };
      if (x.size === 0) {
        return tf.zeros([numSegments, ...x.shape.slice(1)], x.dtype);
      }
      // The program does leave out negative numbers.
      const ids = tf.tidy(() => tf.where(tf.less(segmentIds, numSegments), segmentIds, tf.scalar(-1, "int32")));
      const sums = own.kernelFunc({ ...call, inputs: { ...call.inputs, segmentIds: ids } });
      ids.dispose();
      return sums;
    },
  });
}
