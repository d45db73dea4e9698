// The scores of the tokens that can be next, while processors change them and rule tokens out. Whole vocabularies are
// never sorted, which would take as long as a forward pass of a small model: sets of the most likely tokens are found by
// selection.

/** What is known when a token is chosen. */
export interface TokenContext {
  /** the prompt and the tokens generated so far */
  sequence: readonly number[];
  /** length of the prompt */
  prompt: number;
}

/** One step of choosing the next token. */
export interface LogitsProcessor {
  /** Changes scores, or rules out tokens. */
  process(scores: Scores, context: TokenContext): void;
}

/** The scores of all tokens, and the tokens that are left. */
export class Scores {
  /** score of each token; −∞ rules a token out. Changed in place */
  readonly values: Float32Array;
  #left: Int32Array | undefined;

  /** @param values float32 (vocabulary); kept and changed */
  constructor(values: Float32Array) {
    this.values = values;
  }

  /** Tokens that are left, in ascending order. `values` must not change after the first call. */
  get left(): Int32Array {
    if (this.#left) return this.#left;
    const ids = new Int32Array(this.values.length);
    for (let id = 0; id < ids.length; id++) ids[id] = id;
    return this.#keepOf(ids, (score) => score > Number.NEGATIVE_INFINITY);
  }

  /** Rules out a token; ids outside the vocabulary are ignored. */
  ruleOut(id: number): void {
    if (id >= 0 && id < this.values.length) this.values[id] = Number.NEGATIVE_INFINITY;
  }

  /** Keeps those of the tokens that are left for which `isKept` holds. @param isKept also gets the index in `left` */
  keep(isKept: (score: number, index: number) => boolean): void {
    this.#keepOf(this.left, isKept);
  }

  /** Keeps these of the tokens that are left. */
  retain(ids: readonly number[]): void {
    this.#left = Int32Array.from(ids).sort();
  }

  #keepOf(ids: Int32Array, isKept: (score: number, index: number) => boolean): Int32Array {
    const kept = new Int32Array(ids.length);
    let count = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      if (isKept(this.values[id] as number, i)) kept[count++] = id;
    }
    this.#left = kept.subarray(0, count);
    return this.#left;
  }

  /** Scores of the tokens that are left. */
  leftValues(): Float32Array {
    const { left, values } = this;
    const taken = new Float32Array(left.length);
    for (let i = 0; i < left.length; i++) taken[i] = values[left[i] as number] as number;
    return taken;
  }

  /** The distribution over the tokens that are left. */
  distribution(): Distribution {
    const scores = this.leftValues();
    const most = maximum(scores);
    const weights = new Float64Array(scores.length);
    let total = 0;
    for (let i = 0; i < scores.length; i++) {
      const weight = Math.exp((scores[i] as number) - most);
      weights[i] = weight;
      total += weight;
    }
    return { scores, most, weights, total };
  }
}

/** Probabilities of the tokens that are left: `weights[i] / total`. */
export interface Distribution {
  scores: Float32Array;
  /** largest score */
  most: number;
  /** exp(score − most) */
  weights: Float64Array;
  /** sum of the weights */
  total: number;
}

/** The entropy −Σ p ln p of a distribution, in nats. */
export function entropyOf({ scores, most, weights, total }: Distribution): number {
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    const weight = weights[i] as number;
    if (weight > 0) sum += weight * ((scores[i] as number) - most);
  }
  return Math.log(total) - sum / total;
}

/** The largest value; −∞ if there are none. */
export function maximum(values: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) if ((values[i] as number) > most) most = values[i] as number;
  return most;
}

/** A position in an order, and what lies before it. */
interface Position {
  /** key of the entry */
  key: number;
  /** sum of the weights of all entries with smaller keys */
  before: number;
}

/**
 * Finds the first entry, in ascending order of keys, at which the running sum of the weights reaches `mass`, without
 * sorting: sums over the upper 16 bits of the keys determine the upper bits of the entry, and sums over the lower 16 bits
 * of the keys that have these determine the rest. If rounding keeps the sum below `mass`, it is the last entry.
 * @param keys finite numbers, at least one
 * @param weights weights of the entries, above 0 or 0. Default: 1 each
 */
export function positionOfMass(keys: Float32Array, mass: number, weights?: Float64Array): Position {
  const bits = new Uint32Array(keys.buffer, keys.byteOffset, keys.length);
  const upper = new Digits();
  for (let i = 0; i < bits.length; i++)
    upper.add(ordered(bits[i] as number) >>> 16, weights ? (weights[i] as number) : 1);
  const first = upper.find(0, mass);
  const lower = new Digits();
  for (let i = 0; i < bits.length; i++) {
    const order = ordered(bits[i] as number);
    if (order >>> 16 === first.digit) lower.add(order & 0xffff, weights ? (weights[i] as number) : 1);
  }
  const last = lower.find(first.before, mass);
  return { key: fromOrdered(((first.digit << 16) | last.digit) >>> 0), before: last.before };
}

/** Sums of weights by a digit of 16 bits. */
class Digits {
  readonly #sums = new Float64Array(2 ** 16);
  readonly #isPresent = new Uint8Array(2 ** 16);

  add(digit: number, weight: number): void {
    this.#sums[digit] = (this.#sums[digit] as number) + weight;
    this.#isPresent[digit] = 1;
  }

  /** The first digit at which the sum reaches `mass`, or the last digit. @param before sum before the first digit */
  find(before: number, mass: number): { digit: number; before: number } {
    let found = { digit: 0, before };
    let sum = before;
    for (let digit = 0; digit < this.#sums.length; digit++) {
      if (!this.#isPresent[digit]) continue;
      found = { digit, before: sum };
      sum += this.#sums[digit] as number;
      if (sum >= mass) break;
    }
    return found;
  }
}

/** Maps the bits of a float32 to a number that is larger if the float32 is: negative numbers are inverted. */
const ordered = (bits: number): number => (bits ^ ((bits >> 31) | 0x80000000)) >>> 0;

function fromOrdered(order: number): number {
  const bits = order & 0x80000000 ? order ^ 0x80000000 : ~order;
  return new Float32Array(Uint32Array.of(bits >>> 0).buffer)[0] as number;
}
