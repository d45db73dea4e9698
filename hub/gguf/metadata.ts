// The metadata of a GGUF file, with checked types. A key that is absent gives undefined; one of another type than
// expected is an error that names the key.

import { quote } from "../files/file-error.ts";
import { GgufError } from "./types.ts";

/** Metadata values by key. */
export class Metadata {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly file: string;

  constructor(values: Readonly<Record<string, unknown>>, file: string) {
    this.#values = values;
    this.file = file;
  }

  /** Names of all keys. */
  keys(): string[] {
    return Object.keys(this.#values);
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  /** An integer from 0 to 2^53 - 1. */
  count(key: string): number | undefined {
    const value = this.#number(key, "a whole number");
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) return value;
    throw this.fail(key, "a whole number of 0 or more", value);
  }

  /** Like `count`, but required. */
  needCount(key: string): number {
    return this.count(key) ?? this.missing(key);
  }

  /** A number. Values of type float32 are replaced by the shortest decimal that has the same float32: 1e-5. */
  number(key: string): number | undefined {
    const value = this.#number(key, "a number");
    if (value === undefined) return undefined;
    if (!Number.isFinite(value)) throw this.fail(key, "a finite number", value);
    return Math.fround(value) === value ? shortest(value) : value;
  }

  text(key: string): string | undefined {
    const value = this.#own(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.fail(key, "a string", value);
  }

  flag(key: string): boolean | undefined {
    const value = this.#own(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.fail(key, "true or false", value);
  }

  texts(key: string): string[] | undefined {
    const value = this.#list(key, "a list of strings");
    if (value === undefined || value.every((each) => typeof each === "string")) return value as string[] | undefined;
    throw this.fail(key, "a list of strings", value);
  }

  numbers(key: string): number[] | undefined {
    const values = this.#list(key, "a list of numbers")?.map(asNumber);
    if (values === undefined || values.every((each) => typeof each === "number")) return values as number[] | undefined;
    throw this.fail(key, "a list of numbers", values);
  }

  /** One number for all layers: a number, or a list in which all are the same. */
  sameCount(key: string): number | undefined {
    if (!Array.isArray(this.#own(key))) return this.count(key);
    const values = this.numbers(key) ?? [];
    const [first] = values;
    if (first !== undefined && values.every((value) => value === first) && Number.isSafeInteger(first) && first >= 0) {
      return first;
    }
    throw new GgufError(`${key} differs between layers, which is not supported`, { file: this.file });
  }

  /** The error that a key has another value than expected. */
  fail(key: string, expected: string, found: unknown): GgufError {
    return new GgufError(`${key} must be ${expected}, is ${shown(found)}`, { file: this.file });
  }

  /** @throws GgufError that a key is missing */
  missing(key: string): never {
    throw new GgufError(`has no ${key} in its metadata; it is not a complete model`, { file: this.file });
  }

  #own(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? this.#values[key] : undefined;
  }

  #number(key: string, expected: string): number | undefined {
    const value = asNumber(this.#own(key));
    if (value === undefined || typeof value === "number") return value;
    throw this.fail(key, expected, value);
  }

  #list(key: string, expected: string): unknown[] | undefined {
    const value = this.#own(key);
    if (value === undefined || Array.isArray(value)) return value;
    throw this.fail(key, expected, value);
  }
}

const asNumber = (value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);

/** The decimal with the fewest digits that rounds to this float32. Nine digits always do. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return rounded;
  }
  return value;
}

const shown = (value: unknown): string =>
  Array.isArray(value)
    ? `a list of ${value.length} elements`
    : typeof value === "string"
      ? quote(value)
      : String(value);
