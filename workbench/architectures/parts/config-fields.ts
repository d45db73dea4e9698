// Fields that the config.json of several architectures have, and the check that names the one which is wrong.

import { z } from "zod";
import { MOST_VALUES, ModelError } from "../../../hub/model-folder/index.ts";

/** A side or a number of something, from 1. */
export const count = z.int().min(1).max(MOST_VALUES);

/** Of blocks, layers or stages: each is a dozen parameters to describe, so a hostile file must not claim millions. */
export const blockCount = z.int().min(1).max(10_000);

/** Of an entry or a block to be left out, in training. */
export const chance = (usual: number) => z.number().min(0).lt(1).default(usual);

const TokenId = z.int().min(0);
/** One token or several, any of which ends a text. */
export const EndOfText = z.union([TokenId, z.array(TokenId).min(1)]).nullish();

/**
 * How many classes a config.json in Hugging Face's manner has. transformers keeps labels, or their number; where a file
 * has neither there are two.
 */
export function classCount(json: Readonly<Record<string, unknown>>): number {
  const { num_labels: count, id2label: labels } = json;
  if (typeof labels === "object" && labels !== null) return Object.keys(labels).length;
  return Number.isSafeInteger(count) && (count as number) > 0 ? (count as number) : 2;
}

/**
 * @param path what is before the field's name in errors
 * @throws ModelError such as `x/config.json: n_head is missing: expected int`
 */
export function checked<T>(schema: z.ZodType<T>, json: unknown, file: string, path = ""): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const steps = issue?.path ?? [];
  let value: unknown = json;
  for (const step of steps) value = (value as Record<PropertyKey, unknown> | undefined)?.[step];
  const is = value === undefined ? "is missing" : `is ${JSON.stringify(value).slice(0, 80)}`;
  const rule = (issue?.message ?? "is wrong").replace(/^Invalid (input|option): /, "");
  throw new ModelError(`${path}${steps.map(String).join(".")} ${is}: ${rule}`, { file });
}

/** Labels of Hugging Face's manner for classes whose number is known and whose names are not. */
export function placeholderLabels(classes: number): Record<string, unknown> {
  const names = Array.from({ length: classes }, (_, i) => `LABEL_${i}`);
  return {
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
}
