// Random numbers. `bits` and `uniform` compute them by position, as a hash of an index and a key, without a state. The
// same key and index give the same bits on every machine and in every thread. They are meant for dropout, shuffling and
// augmentation, not for cryptography, and take a tenth of the time of the generator behind tf.randomUniform.

/**
 * The 32 bits of entry `index` under a 32-bit key, by murmur3's finalizer over a Weyl sequence.
 * @param key a key from `mixSeed`, or the bits of another entry
 */
export function bits(index: number, key: number): number {
  let h = (Math.imul(index, 0x9e3779b9) ^ key) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The bits of entry `index` under a key as a uniform number.
 * @returns at least 0 and below 1
 */
export const uniform = (index: number, key: number): number => bits(index, key) / 2 ** 32;

/**
 * Derives a 32-bit key from a seed. All bits of the seed are used, and neighboring seeds give unrelated keys.
 * @param seed a safe integer of at least 0
 */
export const mixSeed = (seed: number): number => bits(seed >>> 0, bits(Math.floor(seed / 2 ** 32), 0x2545f491));

/**
 * A seed of 32 bits for one place among many, such as a step and a micro-batch. Places that differ have unrelated seeds.
 * @param seed a safe integer of at least 0
 */
export const seedAt = (seed: number, ...place: readonly number[]): number =>
  place.reduce((key, part) => bits(part, key), mixSeed(seed));

/**
 * A generator of uniform numbers: Tommy Ettinger's Mulberry32. The same seed gives the same numbers on every machine
 * and engine. It is meant for initial values, not for statistics.
 * @returns a function that returns the next number in [0, 1), exact in float32
 */
export function seededUniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    // 24 bits, the precision of a float32, so that no number rounds up to 1.
    return ((bits ^ (bits >>> 14)) >>> 8) / 2 ** 24;
  };
}
