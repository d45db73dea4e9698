// How images must be prepared for a model, and what its classes are called: from config.json, timm's `pretrained_cfg` in
// it, or Hugging Face's preprocessor_config.json beside it. The images themselves are data/'s.

import { EngineError } from "../engine/errors.ts";
import { isClassifier } from "./classifier.ts";
import type { Model } from "./model.ts";
import { isTimm } from "./timm-config.ts";

export const INTERPOLATIONS = ["nearest", "bilinear", "bicubic"] as const;
export type Interpolation = (typeof INTERPOLATIONS)[number];

export interface ImageSettings {
  /** rows and columns */
  size: number;
  /** taken off each colour, and what it is then divided by; of values from 0 to 1 */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  interpolation: Interpolation;
  /** of the shorter side, that the middle square which is kept takes; above 0 to 1 */
  cropShare: number;
  classes: number;
  /** by class, where the config has names */
  labels?: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** What each family's checkpoints were trained with where theirs do not say. */
const DEFAULTS: Readonly<Record<string, Omit<ImageSettings, "size" | "classes">>> = {
  vit: { ...HALF, interpolation: "bicubic", cropShare: 0.9 },
  mixer: { ...HALF, interpolation: "bicubic", cropShare: 0.875 },
  resnet: { ...IMAGENET, interpolation: "bilinear", cropShare: 0.875 },
};

/** @throws EngineError when the model classifies no images */
export function imageSettings<Config>(model: Model<Config>): ImageSettings {
  const { architecture, json, preprocessor } = model;
  if (!isClassifier(model)) {
    throw new EngineError(`a ${architecture.type} model takes no images`, "give a vit, resnet or mixer model");
  }
  const { image, classes } = model.config as { image: number; classes: number };
  const base = DEFAULTS[architecture.type] as Omit<ImageSettings, "size" | "classes">;
  const labels = labelsOf(json, classes);
  // Networks without positions take images as large as they were trained with.
  const own = isTimm(json) ? fromTimm(json) : fromTransformers(preprocessor ?? {});
  const size = architecture.type === "resnet" ? (own.size ?? image) : image;
  return { ...base, ...own, size, classes, ...(labels && { labels }) };
}

function fromTimm({ pretrained_cfg }: Fields): Partial<ImageSettings> {
  const { mean, std, interpolation, crop_pct, input_size } = (pretrained_cfg ?? {}) as Fields;
  return {
    ...coloursOf({ mean, std }),
    ...(isInterpolation(interpolation) && { interpolation }),
    ...(isShare(crop_pct) && { cropShare: crop_pct }),
    ...(Array.isArray(input_size) && typeof input_size[2] === "number" && { size: input_size[2] }),
  };
}

/** Of a processor without a middle square to keep, as ViT's, the whole image is resized. */
function fromTransformers(fields: Fields): Partial<ImageSettings> {
  if (Object.keys(fields).length === 0) return {};
  const { image_mean, image_std, resample, crop_pct, do_center_crop, size, crop_size, do_normalize } = fields;
  const shortest = sideOf(size);
  const kept = do_center_crop === true ? (sideOf(crop_size) ?? shortest) : shortest;
  const share = isShare(crop_pct) ? crop_pct : shortest && kept && kept <= shortest ? kept / shortest : 1;
  const interpolation = RESAMPLES[Number(resample ?? 2)];
  return {
    ...(do_normalize === false ? { mean: [0, 0, 0], std: [1, 1, 1] } : coloursOf({ mean: image_mean, std: image_std })),
    ...(interpolation && { interpolation }),
    ...(kept !== undefined && { size: kept }),
    cropShare: share,
  };
}

/** Numbers of Pillow's filters. */
const RESAMPLES: Readonly<Record<number, Interpolation>> = { 0: "nearest", 2: "bilinear", 3: "bicubic" };

function sideOf(size: unknown): number | undefined {
  if (typeof size === "number") return size;
  const { shortest_edge, height } = (size ?? {}) as Fields;
  return [shortest_edge, height].find((side) => typeof side === "number") as number | undefined;
}

function coloursOf({ mean, std }: { mean: unknown; std: unknown }): Partial<ImageSettings> {
  const three = (values: unknown): values is [number, number, number] =>
    Array.isArray(values) && values.length === 3 && values.every((value) => Number.isFinite(value));
  return { ...(three(mean) && { mean }), ...(three(std) && std.every((value) => value > 0) && { std }) };
}

const isShare = (value: unknown): value is number => typeof value === "number" && value > 0 && value <= 1;

const isInterpolation = (value: unknown): value is Interpolation =>
  (INTERPOLATIONS as readonly unknown[]).includes(value);

/** Names in the order of their classes; undefined unless there is one for each, and not just a number. */
function labelsOf({ id2label, label_names }: Fields, classes: number): string[] | undefined {
  const named = Array.isArray(label_names) ? label_names : Object.values(ordered(id2label));
  const texts = named.filter((label): label is string => typeof label === "string");
  const isPlaceholder = texts.every((label, i) => label === `LABEL_${i}`);
  return texts.length === classes && !isPlaceholder ? texts : undefined;
}

/** Keys that are whole numbers come in their order. */
const ordered = (labels: unknown): Fields => (typeof labels === "object" && labels !== null ? (labels as Fields) : {});
