// config.json as timm writes it for the Hub: the architecture by its name in timm, what it was made with, and how its
// images are prepared. The fields of each family are in that family's config.ts.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { checked } from "./config-fields.ts";

export type TimmArguments = Readonly<Record<string, unknown>>;

export interface TimmConfig {
  /** e.g. `vit_base_patch16_224`, the tag of its weights left off */
  name: string;
  classes: number;
  colors: number;
  /** rows and columns of images, where the file says */
  image: number | undefined;
  /** `model_args`, and fields that timm writes beside them */
  model: TimmArguments;
}

const size = z.tuple([z.int().min(1), z.int().min(1), z.int().min(1)]);
const FIELDS = z.object({
  architecture: z.string(),
  num_classes: z.int().min(1).nullish(),
  global_pool: z.string().nullish(),
  model_args: z.record(z.string(), z.unknown()).nullish(),
});
const PRETRAINED = z.object({ input_size: size.nullish(), num_classes: z.int().nullish() });

export const isTimm = (json: Readonly<Record<string, unknown>>): boolean => typeof json.architecture === "string";

/**
 * Where timm keeps what it says of the checkpoint itself: `pretrained_cfg`, or the whole file where it has none, as older
 * ones. `path` is what stands before names of fields in errors.
 */
export function timmFields(json: Readonly<Record<string, unknown>>): { fields: TimmArguments; path: string } {
  const { pretrained_cfg: own } = json;
  return own == null ? { fields: json, path: "" } : { fields: own as TimmArguments, path: "pretrained_cfg." };
}

/** Fields of the checkpoint said anew, where the file has them. */
export function withTimmFields(json: TimmArguments, said: TimmArguments): Record<string, unknown> {
  const { pretrained_cfg: own } = json;
  return own == null ? { ...json, ...said } : { ...json, pretrained_cfg: { ...own, ...said } };
}

/** @throws ModelError naming the field that makes no sense */
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

/** Arguments that would change what is computed in a way that is not known here are refused, at their defaults taken. */
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
