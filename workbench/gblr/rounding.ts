// Rounding half to even, as PyTorch and IEEE 754 round and Math.round does not. For numbers; tensors have tf.round.

/** The nearest integer, of two equally near the even one. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) {
    return rest < 0.5 ? floor : floor + 1;
  }
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Whole samples that a share of `length` covers: the product is rounded to float32 first, as it is on tensors. */
export function samples(share: number, length: number): number {
  return roundHalfEven(Math.fround(Math.fround(share) * length));
}
