// Softmax, batch normalization with given statistics, Fourier transforms along the last axis.

import { aten } from "../aten.ts";
import type { KernelTable } from "../register.ts";

const softmax = aten("_softmax");
const rsqrt = aten("rsqrt");
const addScalar = aten("add", "Scalar");
const mul = aten("mul", "Tensor");
const sub = aten("sub", "Tensor");
const negate = aten("neg");
const addProduct = aten("addcmul");
const fft = aten("fft_fft");
const ifft = aten("fft_ifft");

export const normalization: KernelTable = {
  Softmax: ({ logits }, { dim }) => softmax(logits, dim, false),
  /** (x − mean) / √(variance + ε) · scale + offset, gathered into one product and sum over x. */
  FusedBatchNorm: ({ x, mean, variance, offset, scale }, { varianceEpsilon }) => {
    const inverse = rsqrt(addScalar(variance, varianceEpsilon ?? 0.001));
    const factor = scale ? mul(inverse, scale) : inverse;
    const shift = mul(mean, factor);
    return addProduct(offset ? sub(offset, shift) : negate(shift), x, factor);
  },
  FFT: ({ input }) => fft(input),
  IFFT: ({ input }) => ifft(input),
};
