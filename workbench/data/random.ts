// Random numbers for the transforms of images, the order of texts, and draws of samples. They depend on the seed only, not
// on the machine or the thread.

import { mixSeed, uniform } from "../engine/core/random.ts";

/** A stream of random numbers determined by a seed. */
export class RandomStream {
  private readonly key: number;
  /** number of uniform numbers drawn so far */
  private drawn = 0;
  /** second number of a pair of normal ones */
  private spare: number | undefined;

  constructor(seed: number) {
    this.key = mixSeed(seed);
  }

  /** Uniform in [low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * uniform(this.drawn++, this.key);
  }

  /** Uniform among the integers low … high, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** One of the values, uniformly. */
  pick<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length - 1)] as T;
  }

  /** A random permutation of 0 … count - 1 (Fisher and Yates). */
  order(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let last = count - 1; last > 0; last--) {
      const other = this.integer(0, last);
      [order[last], order[other]] = [order[other] as number, order[last] as number];
    }
    return order;
  }

  /** Standard normal (Box and Muller 1958). */
  normal(): number {
    if (this.spare !== undefined) {
      const kept = this.spare;
      this.spare = undefined;
      return kept;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Beta(alpha, alpha). @param alpha above 0 */
  beta(alpha: number): number {
    const [a, b] = [this.gamma(alpha), this.gamma(alpha)];
    return a + b > 0 ? a / (a + b) : Number(this.chance(0.5));
  }

  /**
   * Gamma(shape) with scale 1 (Marsaglia and Tsang 2000). For shapes below 1, a sample for shape + 1 is multiplied by a
   * power of a uniform number.
   */
  private gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.uniform()) ** (1 / shape);
    const d = shape - 1 / 3;
    for (;;) {
      const x = this.normal();
      const v = (1 + x / Math.sqrt(9 * d)) ** 3;
      if (v > 0 && Math.log(1 - this.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  }
}
