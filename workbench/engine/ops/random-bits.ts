// Random bits by position: a hash of an index and a key, no state. Good enough to choose what dropout drops, and ten
// times cheaper than the generator behind tf.randomUniform; not for cryptography.

/** The 32 bits of entry `index` under a 32-bit key: murmur3's finalizer over a Weyl sequence. */
export function bits(index: number, key: number): number {
  let h = (Math.imul(index, 0x9e3779b9) ^ key) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A safe integer as a 32-bit key: all its bits count, and neighboring seeds have nothing in common. */
export const mixSeed = (seed: number): number => bits(seed >>> 0, bits(Math.floor(seed / 2 ** 32), 0x2545f491));

/**
 * Uniform numbers that a seed decides, the same on every machine and engine: Tommy Ettinger's Mulberry32. Good enough to
 * scatter starting points, not for statistics.
 * @returns a function that returns the next number in [0, 1), all of them exact in float32
 */
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
