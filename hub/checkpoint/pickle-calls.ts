// What a pickle's mention of a global, and its call, come to: data of ours, a record, or a refusal that names it.

import type { Fail } from "../byte-source.ts";
import { quote } from "../file-error.ts";
import { CALLS, findGlobal, isClass, isListed } from "./globals.ts";
import { Global, Instance, itemsOf, type PickleValue } from "./pickle-values.ts";

export function global(module: PickleValue | undefined, name: PickleValue | undefined, fail: Fail): Global {
  if (typeof module !== "string" || typeof name !== "string") throw fail("a global's name is not text");
  const found = findGlobal(module, name);
  if (!found) throw refused(`${module}.${name}`, fail);
  return found;
}

export function call(callee: PickleValue | undefined, args: PickleValue | undefined, fail: Fail): PickleValue {
  if (!(callee instanceof Global)) throw fail("calls what is not a global");
  const items = itemsOf(args);
  if (!items) throw fail(`calls ${quote(callee.path)} with arguments that are no tuple`);
  if (isListed(callee.path)) {
    const value = CALLS[callee.path]?.(items);
    if (value === undefined) throw fail(`calls ${quote(callee.path)} with arguments that it does not take`);
    return value;
  }
  if (!isClass(callee.path)) throw refused(callee.path, fail);
  return new Instance(callee.path, items);
}

function refused(path: string, fail: Fail): Error {
  return fail(`the global ${quote(path)} is none that a checkpoint may use; it was refused, and nothing ran`);
}
