// Determines the image preparation of a model and the names of its classes. Both are read from timm's `pretrained_cfg`
// in config.json (in older files from config.json itself) or from Hugging Face's files. Without a description, the
// architecture's usual preparation is used. If timm's file has only some of the fields, the others have the defaults of
// timm's `resolve_data_config`.

import { join } from "node:path";
import { z } from "zod";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { checked, isTimm, timmFields } from "../../architectures/parts/config-fields.ts";
import {
  CROP_MODES,
  IMAGENET,
  type ImageSettings,
  INTERPOLATIONS,
  type Triple,
} from "../../architectures/parts/image-terms.ts";
import { imageTaskOf } from "../../architectures/task.ts";
import type { Model } from "../model.ts";
import { PREPROCESSOR_FILE, processorSettings } from "./image-processor.ts";

type Fields = Readonly<Record<string, unknown>>;

/**
 * The image preparation of a model.
 * @param folder folder of the model, for errors
 * @throws EngineError when the model takes no images; ModelError for an invalid or unsupported preparation
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
  // Networks for images of any size use the size with which they were trained.
  const size = anySize ? (own.size ?? image) : image;
  return { ...base, ...own, size, classes, ...(labels && { labels }) };
}

/** Names in the order of the classes; undefined if a class has no name, or all names are placeholders. */
function labelsOf(json: Fields, classes: number): string[] | undefined {
  const named = isTimm(json) ? timmLabels(json) : Object.values(ordered(json.id2label));
  const texts = named.filter((label): label is string => typeof label === "string");
  const isPlaceholder = texts.every((label, i) => label === `LABEL_${i}`);
  return texts.length === classes && !isPlaceholder ? texts : undefined;
}

/** The labels by class number. JavaScript iterates keys that are whole numbers in ascending order. */
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
 * The preparation in timm's format.
 * @returns an empty object if the file has none
 * @throws ModelError that names an invalid or unsupported field
 */
function timmPreparation(json: Fields, file: string): Partial<ImageSettings> {
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

/** Names in the order of classes, from a list or by number; older files call them `labels`. */
function timmLabels(json: Fields): unknown[] {
  const { fields } = timmFields(json);
  const named = json.label_names ?? fields.label_names ?? json.labels ?? fields.labels;
  return typeof named === "object" && named !== null ? Object.values(named) : [];
}
