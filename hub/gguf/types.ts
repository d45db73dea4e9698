// The tensor types of GGUF files that are read (ggml-org/ggml, docs/gguf.md, "ggml_type"), and the error about a file.
// A quantized type stores blocks: a fixed number of values of one row in a fixed number of bytes.

import { FileError } from "../files/file-error.ts";

/** An error about a GGUF file: one line with the file, the tensor or key, what was found and what was expected. */
export class GgufError extends FileError {
  override readonly name = "GgufError";
}

/** A tensor type. */
export interface GgmlType {
  readonly name: string;
  /** number of values in a block */
  readonly values: number;
  /** size of a block in bytes */
  readonly bytes: number;
}

const type = (name: string, values: number, bytes: number): GgmlType => ({ name, values, bytes });

/** The types that are read, by their number in the file. */
export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map([
  [0, type("F32", 1, 4)],
  [1, type("F16", 1, 2)],
  [2, type("Q4_0", 32, 18)],
  [3, type("Q4_1", 32, 20)],
  [6, type("Q5_0", 32, 22)],
  [7, type("Q5_1", 32, 24)],
  [8, type("Q8_0", 32, 34)],
  [10, type("Q2_K", 256, 84)],
  [11, type("Q3_K", 256, 110)],
  [12, type("Q4_K", 256, 144)],
  [13, type("Q5_K", 256, 176)],
  [14, type("Q6_K", 256, 210)],
  [20, type("IQ4_NL", 32, 18)],
  [30, type("BF16", 1, 2)],
]);

/** Names of types that exist but are not read, for messages. */
const OTHER_TYPES: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [23, "IQ4_XS"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
  [40, "NVFP4"],
]);

/** Describes the type with this number, for messages: `type IQ4_XS` or `unknown type 77`. */
export function describeType(number: number): string {
  const name = OTHER_TYPES.get(number);
  return name === undefined ? `unknown type ${number}` : `type ${name}`;
}
