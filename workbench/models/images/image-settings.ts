// How images must be prepared for a model, and what its classes are called: from config.json, timm's `pretrained_cfg` in
// it (or config.json itself where it is the older single dictionary), or Hugging Face's preprocessor_config.json beside
// it. Where they say nothing the images are prepared as is usual for the architecture; where timm's say something, the
// rest is as timm's `resolve_data_config` has it. The images themselves are data/'s.

import { join } from "node:path";
import { z } from "zod";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { checked } from "../../architectures/parts/config-fields.ts";
import {
  CROP_MODES,
  IMAGENET,
  type ImageSettings,
  INTERPOLATIONS,
  type Triple,
} from "../../architectures/parts/image-terms.ts";
import { isTimm, timmFields } from "../../architectures/parts/timm-config.ts";
import { imageTaskOf } from "../../architectures/task.ts";
import type { Model } from "../model.ts";
import { PREPROCESSOR_FILE, processorSettings } from "./image-processor.ts";

type Fields = Readonly<Record<string, unknown>>;

/**
 * @param folder of the model, for errors
 * @throws EngineError when the model classifies no images; ModelError for a preparation that makes no sense, or that is not
 *   done here
 */
export function imageSettings<Config>(
  model: Pick<Model<Config>, "architecture" | "config" | "json" | "preprocessor">,
  folder = "",
): ImageSettings {
  const { json, preprocessor = {} } = model;
  const { sizes, preparation: base, anySize } = imageTaskOf(model);
  const { image, classes } = sizes(model.config);
  const labels = labelsOf(json, classes);
  const own = isTimm(json)
    ? timmPreparation(json, join(folder, CONFIG_FILE))
    : Object.keys(preprocessor).length > 0
      ? processorSettings(preprocessor, { base, file: join(folder, PREPROCESSOR_FILE) })
      : {};
  // Networks that take images of any size take them as large as they were trained with.
  const size = anySize ? (own.size ?? image) : image;
  return { ...base, ...own, size, classes, ...(labels && { labels }) };
}

/** Names in the order of their classes; undefined unless there is one for each, and not just a number. */
function labelsOf(json: Fields, classes: number): string[] | undefined {
  const named = isTimm(json) ? timmLabels(json) : Object.values(ordered(json.id2label));
  const texts = named.filter((label): label is string => typeof label === "string");
  const isPlaceholder = texts.every((label, i) => label === `LABEL_${i}`);
  return texts.length === classes && !isPlaceholder ? texts : undefined;
}

/** Keys that are whole numbers come in their order. */
const ordered = (labels: unknown): Fields => (typeof labels === "object" && labels !== null ? (labels as Fields) : {});

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
function timmLabels(json: Fields): unknown[] {
  const { fields } = timmFields(json);
  const named = json.label_names ?? fields.label_names ?? json.labels ?? fields.labels;
  return typeof named === "object" && named !== null ? Object.values(named) : [];
}
