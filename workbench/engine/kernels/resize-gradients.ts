// The gradients of resizing images, as the transposed products of the two interpolation matrices. TensorFlow.js's own
// gradients know nothing of half-pixel centers, and those of its plain-JavaScript backend want square images.

import * as tf from "@tensorflow/tfjs-core";

interface ResizeAttributes {
  alignCorners: boolean;
  halfPixelCenters?: boolean;
}

export function registerResizeGradients(backendName: string): void {
  register(tf.ResizeBilinearGrad, tf.ResizeBilinear, backendName);
  register(tf.ResizeNearestNeighborGrad, tf.ResizeNearestNeighbor, backendName);
}

function register(kernelName: string, forward: string, backendName: string): void {
  if (tf.getKernel(kernelName, backendName)) {
    tf.unregisterKernel(kernelName, backendName);
  }
  tf.registerKernel({
    kernelName,
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      const { images, dy } = inputs as unknown as { images: tf.Tensor4D; dy: tf.Tensor4D };
      const attributes = attrs as unknown as ResizeAttributes;
      const place = forward === tf.ResizeBilinear ? placeBetween : placeAtNearest;
      const axis = (size: number, resized: number) => interpolation(size, resized, attributes, place);
      return tf.tidy(() => resizeBack(dy, images.shape, axis));
    },
  });
}

/** @returns (batch, height, width, channels) */
function resizeBack(
  dy: tf.Tensor4D,
  [batch, height, width, channels]: [number, number, number, number],
  axis: (size: number, resized: number) => Float32Array,
): tf.Tensor4D {
  const [, newHeight, newWidth] = dy.shape;
  const rows = tf.tensor3d(axis(height, newHeight), [1, height, newHeight]);
  const columns = tf.tensor3d(axis(width, newWidth), [1, width, newWidth]);
  const tall = tf.matMul(rows, tf.reshape(dy, [batch, newHeight, newWidth * channels]));
  const wide = tf.matMul(columns, tf.reshape(tall, [batch * height, newWidth, channels]));
  return tf.reshape(wide, [batch, height, width, channels]);
}

/** Puts the weights of one output position into its column of the matrix. */
type Place = (put: (position: number, weight: number) => void, source: number, attributes: ResizeAttributes) => void;

/** @returns the transposed interpolation matrix of one axis, (size, resized) */
function interpolation(size: number, resized: number, attributes: ResizeAttributes, place: Place): Float32Array {
  const { alignCorners, halfPixelCenters } = attributes;
  const corners = alignCorners && resized > 1;
  const ratio = corners ? (size - 1) / (resized - 1) : size / resized;
  const matrix = new Float32Array(size * resized);
  for (let position = 0; position < resized; position++) {
    const put = (from: number, weight: number) => {
      const at = Math.min(size - 1, Math.max(0, from)) * resized + position;
      matrix[at] = (matrix[at] ?? 0) + weight;
    };
    place(put, ratio * (halfPixelCenters ? position + 0.5 : position), attributes);
  }
  return matrix;
}

const placeBetween: Place = (put, source, { halfPixelCenters }) => {
  const exact = halfPixelCenters ? source - 0.5 : source;
  const below = Math.floor(exact);
  put(below, 1 - (exact - below));
  put(below + 1, exact - below);
};

const placeAtNearest: Place = (put, source, { alignCorners }) => {
  put(alignCorners ? Math.round(source) : Math.floor(source), 1);
};
