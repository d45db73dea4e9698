// Fields of config.json that several architectures share, and the check that names an invalid field. Two kinds of files
// are read: Hugging Face's, and timm's, which contain the model's name in timm and the arguments of its constructor.

import { z } from "zod";
import { MOST_VALUES, ModelError } from "../../../hub/model-folder/index.ts";

/** A size or a count, at least 1. */
export const count = z.int().min(1).max(MOST_VALUES);

/**
 * A number of blocks, layers or stages. It is limited because each block is about a dozen descriptions of parameters.
 */
export const blockCount = z.int().min(1).max(10_000);

/** A dropout rate in [0, 1). @param usual default */
export const chance = (usual: number) => z.number().min(0).lt(1).default(usual);

const TokenId = z.int().min(0);
const TOKEN_IDS = "expected a token id or a list of them";
/** `eos_token_id`: one token or a list. */
export const EndOfText = z.union([TokenId, z.array(TokenId).min(1, TOKEN_IDS)], { error: TOKEN_IDS }).nullish();

/**
 * Number of classes in Hugging Face's config.json: that of `id2label`, else `num_labels`, else 2, as in transformers.
 */
export function classCount(json: Readonly<Record<string, unknown>>): number {
  const { num_labels: count, id2label: labels } = json;
  if (typeof labels === "object" && labels !== null) return Object.keys(labels).length;
  return Number.isSafeInteger(count) && (count as number) > 0 ? (count as number) : 2;
}

/**
 * Parses the fields of a config.json.
 * @param path prefix of names of fields in errors, e.g. `model_args.`
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

/** The fields `id2label` and `label2id` of Hugging Face's config.json for classes without names. */
export function placeholderLabels(classes: number): Record<string, unknown> {
  const names = Array.from({ length: classes }, (_, i) => `LABEL_${i}`);
  return {
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
}

/** Arguments of timm's constructor of a model, by name. */
export type TimmArguments = Readonly<Record<string, unknown>>;

/** A config.json of timm. */
export interface TimmConfig {
  /** e.g. `vit_base_patch16_224`, without the tag of the weights */
  name: string;
  classes: number;
  colors: number;
  /** rows and columns of images, if the file has them */
  image: number | undefined;
  /** `model_args`, and `global_pool`, which timm writes beside them */
  model: TimmArguments;
}

const size = z.tuple([z.int().min(1), z.int().min(1), z.int().min(1)]);
const FIELDS = z.object({
  architecture: z.string(),
  num_classes: z
    .int()
    .min(1, "expected at least 1; gblr finetune --new-head adds a head to a model without one")
    .nullish(),
  global_pool: z.string().nullish(),
  model_args: z.record(z.string(), z.unknown()).nullish(),
});
const PRETRAINED = z.object({ input_size: size.nullish(), num_classes: z.int().nullish() });

/** Whether a config.json is timm's. */
export const isTimm = (json: Readonly<Record<string, unknown>>): boolean => typeof json.architecture === "string";

/**
 * The fields about the pretrained weights: those of `pretrained_cfg`, or in older files without it those of the whole
 * file.
 * @returns the fields, and `path`, the prefix of their names in errors
 */
export function timmFields(json: Readonly<Record<string, unknown>>): { fields: TimmArguments; path: string } {
  const { pretrained_cfg: own } = json;
  return own == null ? { fields: json, path: "" } : { fields: own as TimmArguments, path: "pretrained_cfg." };
}

/** Replaces fields about the pretrained weights, in `pretrained_cfg` or, in older files, in the file itself. */
export function withTimmFields(json: TimmArguments, said: TimmArguments): Record<string, unknown> {
  const { pretrained_cfg: own } = json;
  return own == null ? { ...json, ...said } : { ...json, pretrained_cfg: { ...own, ...said } };
}

/**
 * Reads and checks a config.json of timm.
 * @throws ModelError that names an invalid field
 */
export function readTimmConfig(json: Readonly<Record<string, unknown>>, file: string): TimmConfig {
  const fields = checked(FIELDS, json, file);
  const model = {
    ...(fields.global_pool != null && { global_pool: fields.global_pool }),
    ...fields.model_args,
  };
  const { fields: own, path } = timmFields(json);
  const { input_size: input, num_classes: count } = checked(PRETRAINED, own, file, path);
  if (input && input[1] !== input[2]) {
    throw new ModelError(`${path}input_size is ${input.join(" × ")}: images must be square`, { file });
  }
  return {
    name: fields.architecture.replace(/\..*$/, ""),
    classes: fields.num_classes ?? count ?? 1000,
    colors: input?.[0] ?? 3,
    image: input?.[1],
    model,
  };
}

/**
 * Refuses arguments of timm's constructor that are not supported, unless they have their default value.
 * @throws ModelError that names the argument
 */
export function refuseOthers(
  given: TimmArguments,
  { known, defaults = {}, file }: { known: readonly string[]; defaults?: TimmArguments; file: string },
): void {
  for (const [name, value] of Object.entries(given)) {
    if (known.includes(name)) continue;
    if (Object.hasOwn(defaults, name) && JSON.stringify(defaults[name]) === JSON.stringify(value)) continue;
    throw new ModelError(`model_args.${name} is ${JSON.stringify(value)?.slice(0, 80)}, which is not computed here`, {
      file,
    });
  }
}
