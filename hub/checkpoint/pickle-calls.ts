// What a pickle's mention of a global, and its call, come to: data of ours, a record, or a refusal that names it.

import type { Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { CALLS, findGlobal, isClass, isListed, RESTRICTED } from "./globals.ts";
import { isModuleState } from "./module-tensors.ts";
import { Global, Instance, itemsOf, type PickleValue } from "./pickle-values.ts";
import { isStandardLibrary } from "./standard-library.ts";

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
    if (value === undefined && RESTRICTED.has(callee.path)) throw refused(callee.path, fail);
    if (value === undefined) throw fail(`calls ${quote(callee.path)} with arguments that it does not take`);
    return value;
  }
  if (!isClass(callee.path)) throw refused(callee.path, fail);
  return new Instance(callee.path, items);
}

/**
 * The record of a new object whose class is named like a function, as scripts name their models: it has yet to prove
 * itself by a module's state.
 * @returns undefined for any other class
 */
export function doubtfulRecord(type: PickleValue | undefined, args: PickleValue | undefined): Instance | undefined {
  const items = itemsOf(args);
  if (!(type instanceof Global) || !items) return undefined;
  const { path } = type;
  return isListed(path) || isClass(path) || isStandardLibrary(path) ? undefined : new Instance(path, items);
}

/** @throws what `fail` makes for a doubtful record that has no state of a module's: it may have been a function */
export function expectModule({ className, state }: Instance, fail: Fail): void {
  if (!isModuleState(state)) throw refused(className, fail);
}

function refused(path: string, fail: Fail): Error {
  return fail(`the global ${quote(path)} is none that a checkpoint may use; it was refused, and nothing ran`);
}
