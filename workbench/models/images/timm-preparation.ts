// How timm's checkpoints have their images prepared, and what they call their classes: fields of `pretrained_cfg`, or of
// config.json itself where it is the older single dictionary. What is left out is as timm's `resolve_data_config` has it.

import { z } from "zod";
import { CROP_MODES, type ImageSettings, INTERPOLATIONS, type Triple } from "../../architectures/parts/image-terms.ts";
import { checked, timmFields } from "../../architectures/parts/timm-config.ts";
import { IMAGENET } from "./image-processor.ts";

type Fields = Readonly<Record<string, unknown>>;

const triple = (value: z.ZodType<number>) =>
  z
    .union([value, z.tuple([value]), z.tuple([value, value, value])], "expected three numbers")
    .transform((one): Triple => (Array.isArray(one) && one.length === 3 ? one : spread(one)));

const spread = (one: number | [number]): Triple => {
  const [value] = [one].flat() as [number];
  return [value, value, value];
};

const FIELDS = z.object({
  input_size: z.tuple([z.int(), z.int(), z.int()]).nullish(),
  mean: triple(z.number()).nullish(),
  std: triple(z.number().positive()).nullish(),
  interpolation: z.enum(INTERPOLATIONS).nullish(),
  crop_pct: z.number().positive().max(1).nullish(),
  crop_mode: z.enum(CROP_MODES).nullish(),
});

/**
 * @returns nothing where the file says nothing about it
 * @throws ModelError that names the field which makes no sense or cannot be done here
 */
export function timmPreparation(json: Fields, file: string): Partial<ImageSettings> {
  const { fields, path } = timmFields(json);
  const { input_size: input, mean, std, interpolation, crop_pct, crop_mode } = checked(FIELDS, fields, file, path);
  const isSaid = [input, mean, std, interpolation, crop_pct, crop_mode].some((value) => value != null);
  if (!isSaid) return {};
  return {
    ...(input && { size: input[2] }),
    mean: mean ?? IMAGENET.mean,
    std: std ?? IMAGENET.std,
    interpolation: interpolation ?? "bicubic",
    cropShare: crop_pct ?? 0.875,
    cropMode: crop_mode ?? "center",
  };
}

/** In the order of their classes, as a list or by number; `labels` is what older files call them. */
export function timmLabels(json: Fields): unknown[] {
  const { fields } = timmFields(json);
  const named = json.label_names ?? fields.label_names ?? json.labels ?? fields.labels;
  return typeof named === "object" && named !== null ? Object.values(named) : [];
}
