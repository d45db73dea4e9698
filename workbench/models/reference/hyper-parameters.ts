// Looks things up in what a checkpoint holds beside its tensors: settings nested as the trainer's configuration had them,
// where the same field can lie at different depths. Plain JSON.

import type { Json } from "../../../hub/checkpoint/index.ts";

/** The first value under one of these keys, outermost first, that `accepts` takes. */
export function findSetting<T extends Json>(
  value: Json | { readonly [key: string]: Json },
  keys: readonly string[],
  accepts: (value: Json) => value is T,
): T | undefined {
  let level: unknown[] = [value];
  while (level.length > 0) {
    const next: unknown[] = [];
    for (const each of level) {
      if (typeof each !== "object" || each === null) continue;
      for (const [key, inner] of Object.entries(each)) {
        if (keys.includes(key) && accepts(inner as Json)) return inner as T;
        next.push(inner);
      }
    }
    level = next;
  }
  return undefined;
}

export const isCount = (value: Json): value is number => Number.isSafeInteger(value) && (value as number) >= 1;

export const isBoolean = (value: Json): value is boolean => typeof value === "boolean";
