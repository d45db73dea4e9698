// Variables as flat tensors: several of them are exchanged in one message, a bucket, so that few large messages are sent.

import { concat, keep, reshape, split, type Tensor, tidy, type Variable } from "@tensorflow/tfjs-core";

/** Bytes of a bucket. PyTorch's default. */
export const BUCKET_BYTES = 25 * 2 ** 20;

/**
 * Puts variables into buckets, in their order. A variable that is larger than a bucket has one of its own.
 * @param bytes of a bucket
 * @param first bytes of the first bucket. Default: as of the others
 */
export function bucketsOf(
  variables: readonly Variable[],
  { bytes, first = bytes }: { bytes: number; first?: number },
): Variable[][] {
  const buckets: Variable[][] = [];
  let free = 0;
  for (const variable of variables) {
    const own = 4 * variable.size;
    if (own > free) {
      free = buckets.length === 0 ? first : bytes;
      buckets.push([]);
    }
    buckets.at(-1)?.push(variable);
    free -= own;
  }
  return buckets;
}

/** One flat tensor of the values of all, which the caller disposes of. */
export const packed = (tensors: readonly Tensor[]): Tensor =>
  tidy(() => keep(concat(tensors.map((tensor) => reshape(tensor, [-1])))));

/** The parts of a flat tensor in the shapes of variables, in their order. They may share its memory. */
export function unpacked(flat: Tensor, variables: readonly Variable[]): Tensor[] {
  const parts = split(
    flat,
    variables.map(({ size }) => size),
  );
  return variables.map(({ shape }, i) => reshape(parts[i] as Tensor, shape));
}
