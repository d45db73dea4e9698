// Validates one part of a tokenizer.json. Every part is an object with a `type`; each type has a schema of its own.

import type { z } from "zod";

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

/** The error for a type that is not supported. @param kind such as "normalizer" */
export function unsupported(kind: string, type: unknown, known: readonly string[]): Error {
  return new Error(`the ${kind} ${JSON.stringify(type)} is not supported; supported: ${known.join(", ")}`);
}

/** Levels of sequences in sequences; a file with more is not one of a tokenizer. */
const DEEPEST = 16;

/** @throws Error if sequences are nested too deeply */
export function checkDepth(depth: number, kind: string): void {
  if (depth > DEEPEST) throw new Error(`the ${kind} has more than ${DEEPEST} sequences inside each other`);
}
