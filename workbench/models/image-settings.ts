// How images must be prepared for a model, and what its classes are called: from config.json, timm's `pretrained_cfg` in
// it, or Hugging Face's preprocessor_config.json beside it. The images themselves are data/'s.

import { EngineError } from "../engine/errors.ts";
import { isClassifier } from "./classifier.ts";
import type { Model } from "./model.ts";
import { isTimm } from "./timm-config.ts";

export const INTERPOLATIONS = ["nearest", "bilinear", "bicubic"] as const;
export type Interpolation = (typeof INTERPOLATIONS)[number];

/** What is resized to size / share, rounded down: the shorter side, both sides, or the longer side. In timm's words. */
export const CROP_MODES = ["center", "squash", "border"] as const;
export type CropMode = (typeof CROP_MODES)[number];

export interface ImageSettings {
  /** rows and columns */
  size: number;
  /** taken off each colour, and what it is then divided by; of values from 0 to 1 */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  interpolation: Interpolation;
  /** of the side that is resized, that the middle square which is kept takes; above 0 to 1 */
  cropShare: number;
  cropMode: CropMode;
  classes: number;
  /** by class, where the config has names */
  labels?: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** What each family's checkpoints were trained with where theirs do not say. */
const DEFAULTS: Readonly<Record<string, Omit<ImageSettings, "size" | "classes">>> = {
  vit: { ...HALF, interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
  mixer: { ...HALF, interpolation: "bicubic", cropShare: 0.875, cropMode: "center" },
  resnet: { ...IMAGENET, interpolation: "bilinear", cropShare: 0.875, cropMode: "center" },
};

/** How images of a family's checkpoints are usually prepared. @param type `model_type` of a classifier */
export const usualPreparation = (type: string) => DEFAULTS[type];

/** @throws EngineError when the model classifies no images */
export function imageSettings<Config>(
  model: Pick<Model<Config>, "architecture" | "config" | "json" | "preprocessor">,
): ImageSettings {
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
  const { mean, std, interpolation, crop_pct, crop_mode, input_size } = (pretrained_cfg ?? {}) as Fields;
  return {
    ...coloursOf({ mean, std }),
    ...(isInterpolation(interpolation) && { interpolation }),
    ...(isShare(crop_pct) && { cropShare: crop_pct }),
    ...(isCropMode(crop_mode) && { cropMode: crop_mode }),
    ...(Array.isArray(input_size) && typeof input_size[2] === "number" && { size: input_size[2] }),
  };
}

/**
 * Processors resize bytes with Pillow, whose filters antialias, then rescale to 0 to 1, then normalise: as is done here.
 * One that is given rows and columns, or a plain number as ViT's was, takes the whole image to that size, whatever its
 * shape.
 */
function fromTransformers(fields: Fields): Partial<ImageSettings> {
  if (Object.keys(fields).length === 0) return {};
  const { image_mean, image_std, resample, do_normalize } = fields;
  const interpolation = RESAMPLES[Number(resample ?? (isConvnext(fields) ? 3 : 2))];
  return {
    ...(do_normalize === false ? { mean: [0, 0, 0], std: [1, 1, 1] } : coloursOf({ mean: image_mean, std: image_std })),
    ...(interpolation && { interpolation }),
    ...cropOf(fields),
  };
}

function cropOf(fields: Fields): Pick<ImageSettings, "cropShare" | "cropMode"> & { size?: number } {
  const { size, crop_size, crop_pct, do_center_crop } = fields;
  const side = sideOf(size);
  const isWhole = isConvnext(fields) ? (side ?? WHOLE_FROM) >= WHOLE_FROM : !isShortest(fields);
  const cropMode = isWhole ? "squash" : "center";
  if (isConvnext(fields)) {
    const cropShare = isWhole ? 1 : isShare(crop_pct) ? crop_pct : 224 / 256;
    return { ...(side !== undefined && { size: side }), cropShare, cropMode };
  }
  const kept = do_center_crop === true ? (sideOf(crop_size) ?? side) : side;
  const cropShare = side !== undefined && kept !== undefined && kept <= side ? shareOf(kept, side) : 1;
  return { ...(kept !== undefined && { size: kept }), cropShare, cropMode };
}

/** From this size on, ConvNext's processor, which ResNets have too, crops nothing. */
const WHOLE_FROM = 384;

const isConvnext = (fields: Fields): boolean => fields.crop_pct != null || /^ConvNext/.test(kindOf(fields));

/** Whether the size is of the shorter side: by its name, or for a plain number by the processor's. */
const isShortest = ({ size, ...fields }: Fields): boolean =>
  typeof size === "object" && size !== null ? "shortest_edge" in size : /^(CLIP|Bit|Levit)/.test(kindOf(fields));

const kindOf = ({ image_processor_type, feature_extractor_type }: Fields): string =>
  String(image_processor_type ?? feature_extractor_type ?? "");

/** The share that gives back the side, rounded down. */
function shareOf(kept: number, side: number): number {
  const share = kept / side;
  return Math.floor(kept / share) < side ? share * (1 - Number.EPSILON) : share;
}

/** Numbers of Pillow's filters. */
const RESAMPLES: Readonly<Record<number, Interpolation>> = { 0: "nearest", 2: "bilinear", 3: "bicubic" };

export const resampleNumber = (interpolation: Interpolation): number =>
  Number(Object.keys(RESAMPLES).find((number) => RESAMPLES[Number(number)] === interpolation));

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

const isCropMode = (value: unknown): value is CropMode => (CROP_MODES as readonly unknown[]).includes(value);

/** Names in the order of their classes; undefined unless there is one for each, and not just a number. */
function labelsOf({ id2label, label_names }: Fields, classes: number): string[] | undefined {
  const named = Array.isArray(label_names) ? label_names : Object.values(ordered(id2label));
  const texts = named.filter((label): label is string => typeof label === "string");
  const isPlaceholder = texts.every((label, i) => label === `LABEL_${i}`);
  return texts.length === classes && !isPlaceholder ? texts : undefined;
}

/** Keys that are whole numbers come in their order. */
const ordered = (labels: unknown): Fields => (typeof labels === "object" && labels !== null ? (labels as Fields) : {});
