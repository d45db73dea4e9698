// PyTorch, for tests that compare with it and are skipped without.

import { join } from "node:path";
import { askPython, pythonWith } from "../python/python.ts";

const python = pythonWith("torch");
export const HAS_PYTORCH = python !== undefined;

/** Importing PyTorch takes a second, and every engine asks for the same. */
const known = new Map<string, Promise<unknown>>();

/** What reference.py gives. */
export function fromPytorch<Result>(given: { what: string } & Record<string, unknown>): Promise<Result> {
  const input = JSON.stringify(given);
  if (!known.has(input)) known.set(input, askPython(python, join(import.meta.dirname, "reference.py"), { input }));
  return known.get(input) as Promise<Result>;
}
