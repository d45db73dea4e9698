// Uniform numbers that a seed decides, the same on every machine and engine: Tommy Ettinger's Mulberry32. Good enough to
// scatter starting points, not for statistics.

/** A function that returns the next number in [0, 1), all of them exact in float32. */
export function seededUniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    // 24 bits: a float32 mantissa, so that none rounds up to 1
    return ((bits ^ (bits >>> 14)) >>> 8) / 2 ** 24;
  };
}
