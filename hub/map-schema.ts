// A JSON object whose keys are names that others chose: zod's own records lose one called __proto__.

import { z } from "zod";

/** As a Map, which has no names of its own as an object has. */
export const mapOf = <Value extends z.ZodType, Key extends z.ZodType<string> = z.ZodString>(
  value: Value,
  key: Key = z.string() as unknown as Key,
) => z.preprocess(entriesOf, z.map(key, value));

/** As an object that has all of them; look up with Object.hasOwn. */
export const recordOf = <Value extends z.ZodType>(value: Value) =>
  mapOf(value).transform((entries) => Object.fromEntries(entries) as Record<string, z.output<Value>>);

const entriesOf = (json: unknown): unknown =>
  typeof json === "object" && json !== null && !Array.isArray(json) ? new Map(Object.entries(json)) : json;
