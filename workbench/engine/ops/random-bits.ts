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
