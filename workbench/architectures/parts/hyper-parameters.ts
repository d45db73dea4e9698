// Looks things up in what a checkpoint holds beside its tensors: settings nested as the trainer's configuration had them,
// where the same field can lie at different depths. Plain JSON.

import type { Json } from "../../../hub/checkpoint/index.ts";

/** A checkpoint's hyper-parameters, or a part of them. */
export type Settings = Json | { readonly [key: string]: Json } | undefined;

/** The first value under one of these keys, outermost first, that `accepts` takes. */
export function findSetting<T extends Json>(
  value: Settings,
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

export const isText = (value: Json): value is string => typeof value === "string";

export const isRecord = (value: Json): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);
