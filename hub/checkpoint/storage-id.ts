// The persistent ids of a checkpoint's pickle: each stands for a storage, by its key in the file.

import type { Fail } from "../files/byte-source.ts";
import { storageElement } from "./globals.ts";
import { Global, itemsOf, type PickleValue, StorageView } from "./pickle-values.ts";

/**
 * @param id ("storage", type, key, location, elements), and in legacy files a sixth: None or (key, offset, elements) of a
 *   view; or ("module", class, …), a class with its source, which is not looked at
 * @throws what `fail` makes for any other
 */
export function resolveStorage(id: PickleValue, fail: Fail): StorageView | Global {
  const [kind, type, key, , length, view] = itemsOf(id) ?? [];
  if (kind === "module" && type instanceof Global) return type;
  if (kind !== "storage" || !(type instanceof Global) || typeof key !== "string" || !isCount(length)) {
    throw fail("pickle: a persistent id names no storage");
  }
  const element = storageElement(type);
  if (view === undefined || view === null) return new StorageView({ key, element, length, offset: 0 });
  const [, offset, viewLength] = itemsOf(view) ?? [];
  if (!isCount(offset) || !isCount(viewLength) || offset + viewLength > length) {
    throw fail(`storage ${JSON.stringify(key)}: a view of it lies outside`);
  }
  return new StorageView({ key, element, length: viewLength, offset });
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
