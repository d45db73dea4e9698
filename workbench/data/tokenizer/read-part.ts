// Validates one part of a tokenizer.json. Every part is an object with a `type`; each type has a schema of its own.

import { z } from "zod";

/** A part of a tokenizer.json before its fields are known. */
export interface Part {
  type: string;
  [field: string]: unknown;
}

/** Reads the fields of a part. @throws Error that names the part and the field */
export function readPart<T>(form: z.ZodType<T>, part: unknown, name: string): T {
  const read = form.safeParse(part);
  if (read.success) return read.data;
  const issue = read.error.issues[0] as z.core.$ZodIssue;
  throw new Error(`${name}: ${issue.path.join(".") || "the value"}: ${issue.message}`);
}

/** Schema of a part whose fields are validated when it is opened. */
export const AnyPart = z.looseObject({ type: z.string() });

/** Levels of sequences in sequences; a file with more is not one of a tokenizer. */
const DEEPEST = 16;

/** Opens a part of one type. @param depth number of sequences that the part is in */
export type OpenPart<T> = (part: Part, depth: number) => T;

/**
 * Returns the function that opens parts by their type.
 * @param kind of the parts, such as "normalizer", for errors
 * @param types functions by type
 * @returns throws Error if a type is not supported, a part is damaged, or sequences are nested too deeply
 */
export function partOpener<T>(kind: string, types: Readonly<Record<string, OpenPart<T>>>): OpenPart<T> {
  return (part, depth) => {
    if (depth > DEEPEST) throw new Error(`the ${kind} has more than ${DEEPEST} sequences inside each other`);
    const open = Object.hasOwn(types, part.type) ? types[part.type] : undefined;
    if (open) return open(part, depth);
    const supported = Object.keys(types).join(", ");
    throw new Error(`the ${kind} ${JSON.stringify(part.type)} is not supported; supported: ${supported}`);
  };
}
