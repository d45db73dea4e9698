// Metadata values of a GGUF file that is written, with the types that llama.cpp's converter gives them.

import { GGUFValueType } from "@huggingface/gguf";

/** A metadata value and its type. */
export interface Entry {
  value: number | boolean | string | readonly number[] | readonly string[];
  type: GGUFValueType;
  /** type of the elements of an array */
  subType?: GGUFValueType;
}

/** Metadata by key. */
export type Entries = Readonly<Record<string, Entry>>;

/** A whole number of 0 or more, as uint32. */
export const count = (value: number): Entry => ({ value, type: GGUFValueType.UINT32 });

/** A whole number with a sign, as int32. */
export const integer = (value: number): Entry => ({ value, type: GGUFValueType.INT32 });

/** A float32. */
export const number = (value: number): Entry => ({ value, type: GGUFValueType.FLOAT32 });

/** A boolean. */
export const flag = (value: boolean): Entry => ({ value, type: GGUFValueType.BOOL });

/** A string. */
export const text = (value: string): Entry => ({ value, type: GGUFValueType.STRING });

const list = (value: readonly number[] | readonly string[], subType: GGUFValueType): Entry => {
  return { value, type: GGUFValueType.ARRAY, subType };
};

/** A list of strings. */
export const texts = (value: readonly string[]): Entry => list(value, GGUFValueType.STRING);

/** A list of int32. */
export const integers = (value: readonly number[]): Entry => list(value, GGUFValueType.INT32);

/** A list of float32. */
export const numbers = (value: readonly number[]): Entry => list(value, GGUFValueType.FLOAT32);
