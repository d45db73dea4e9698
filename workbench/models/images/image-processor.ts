// Reads Hugging Face's preprocessor_config.json: its keys, and the defaults of each kind of image processor
// (transformers 5, `models/*/image_processing_*.py`). Every key that changes pixels is either followed or refused by
// name.

import { ModelError } from "../../../hub/model-folder/index.ts";
import {
  HALF,
  IMAGENET,
  type ImageSettings,
  type Interpolation,
  type Triple,
} from "../../architectures/parts/image-terms.ts";

export const PREPROCESSOR_FILE = "preprocessor_config.json";

interface Colors {
  mean: Triple;
  std: Triple;
}

interface Kind extends Colors {
  resample: Interpolation;
  /** default of the size, in pixels */
  size: number;
  /** whether a plain number is the size of the shorter side instead of both. Default false */
  shortest?: boolean;
  /** the shorter side after resizing, computed from the size in the file. Default: that size */
  resized?: (side: number) => number;
  /** side of the center crop, if cropping is the default */
  crop?: number;
  /** default of crop_pct, if the processor has this key */
  cropShare?: number;
  /** whether it divides by the standard deviation twice by default, and has rescale_offset. Default false */
  dividesTwice?: boolean;
  /** default of do_convert_rgb. Default false */
  convertsRgb?: boolean;
}

const UNCHANGED = { mean: [0, 0, 0], std: [1, 1, 1] } as const;
const OPENAI = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;

const VIT: Kind = { ...HALF, resample: "bilinear", size: 224 };
const CLIP: Kind = { ...OPENAI, resample: "bicubic", size: 224, shortest: true, crop: 224, convertsRgb: true };
const CONVNEXT: Kind = { ...HALF, resample: "bicubic", size: 384, shortest: true, cropShare: 224 / 256 };
const MOBILENET: Kind = { ...HALF, resample: "bilinear", size: 256, shortest: true, crop: 224 };
const LEVIT: Kind = {
  ...IMAGENET,
  ...{ resample: "bicubic", size: 224, shortest: true, crop: 224 },
  // transformers also rounds down.
  resized: (side) => Math.trunc((256 / 224) * side),
};

/** The kinds by the name of the processor's type without `ImageProcessor` or `FeatureExtractor`. */
const KINDS: ReadonlyMap<string, Kind> = new Map([
  ["ViT", VIT],
  ["DeiT", { ...HALF, resample: "bicubic", size: 256, crop: 224 }],
  ["Beit", { ...HALF, resample: "bicubic", size: 224 }],
  ["CLIP", CLIP],
  ["Bit", CLIP],
  ["ConvNext", CONVNEXT],
  ["Levit", LEVIT],
  ["MobileNetV1", MOBILENET],
  ["MobileNetV2", MOBILENET],
  ["EfficientNet", { ...HALF, resample: "bicubic", size: 346, dividesTwice: true }],
]);

const OBEYED: ReadonlySet<string> = new Set([
  ...["do_resize", "size", "default_to_square", "resample", "do_center_crop", "crop_size", "crop_pct"],
  ...["do_rescale", "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std", "include_top"],
  ...["do_convert_rgb", "image_processor_type", "feature_extractor_type"],
]);

/** Keys that are ignored, because they do not change the pixels of a classifier's images. */
const HARMLESS: ReadonlySet<string> = new Set([
  ...["processor_class", "auto_map", "_valid_processor_keys", "_name_or_path", "name_or_path", "transformers_version"],
  ...["model_input_names", "return_tensors", "data_format", "input_data_format", "device", "disable_grouping"],
  ...["num_channels", "image_seq_length", "do_reduce_labels", "reduce_labels"],
]);

/** Interpolations in the order of their numbers in Pillow. */
const RESAMPLES: readonly Interpolation[] = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];

/** Pillow's number of an interpolation. */
export const resampleNumber = (interpolation: Interpolation): number => RESAMPLES.indexOf(interpolation);

export interface ProcessorSettingsOptions {
  /** mean and standard deviation if the file has neither a type nor these fields */
  base: Colors;
  /** name of the file in errors */
  file: string;
}

/**
 * Reads the preparation of images from a preprocessor_config.json.
 * @param json content of preprocessor_config.json
 * @throws ModelError that names an invalid or unsupported key
 */
export function processorSettings(
  json: Readonly<Record<string, unknown>>,
  { base, file }: ProcessorSettingsOptions,
): Omit<ImageSettings, "classes" | "labels"> {
  const fields = new ProcessorFields(json, file);
  const kind = kindOf(fields, base);
  refuseOthers(fields, kind);
  return {
    ...croppingOf(fields, kind),
    ...colorsOf(fields, kind),
    interpolation: interpolationOf(fields, kind),
    cropRounding: "down",
    ...(fields.flag("do_convert_rgb", kind.convertsRgb ?? false) && { transparency: "white" }),
  };
}

/**
 * The preprocessor_config.json for images of another size, of which the center crop keeps the same share.
 * @param json content of preprocessor_config.json
 * @param image rows and columns of the prepared images
 * @throws ModelError as `processorSettings`
 */
export function processorForSize(
  json: Readonly<Record<string, unknown>>,
  image: number,
  { base, file }: ProcessorSettingsOptions,
): Record<string, unknown> {
  const { size: kept } = processorSettings(json, { base, file });
  const fields = new ProcessorFields(json, file);
  const kind = kindOf(fields, base);
  const { shortest, side, crop } = sidesOf(fields, kind);
  // crop_pct is a share already. Other kinds resize to a number of pixels.
  const resized = crop === undefined || kind.cropShare !== undefined ? image : Math.floor((side * image) / kept);
  return {
    ...json,
    size: shortest === undefined ? { height: resized, width: resized } : { shortest_edge: resized },
    ...(crop !== undefined && { crop_size: { height: image, width: image } }),
  };
}

/** The kind of processor. A file without a type is ConvNext's if it has crop_pct, else ViT's. */
function kindOf(fields: ProcessorFields, { mean, std }: Colors): Kind {
  const key = typeKey(fields);
  if (key === undefined) return { ...(fields.value("crop_pct") === undefined ? VIT : CONVNEXT), mean, std };
  const name = String(fields.value(key)).replace(/(ImageProcessor|FeatureExtractor)(Fast|Pil)?$/, "");
  return KINDS.get(name) ?? fields.refuse(key, `expected one of ${[...KINDS.keys()].join(", ")}`);
}

const typeKey = (fields: ProcessorFields): string | undefined =>
  ["image_processor_type", "feature_extractor_type"].find((key) => fields.value(key) !== undefined);

/** Refuses unknown keys, unless they turn something off, and keys of other kinds of processors. */
function refuseOthers(fields: ProcessorFields, kind: Kind): void {
  for (const key of fields.keys) {
    const value = fields.value(key);
    const isOff = value === undefined || (value === false && key.startsWith("do_"));
    if (OBEYED.has(key) || HARMLESS.has(key) || isOff) continue;
    fields.refuse(key, "this is not done here; remove the key if it changes no pixel");
  }
  const none = "the processor of this type has no such key; remove it";
  if (kind.cropShare === undefined && fields.value("crop_pct") !== undefined) fields.refuse("crop_pct", none);
  if (kind.dividesTwice || typeKey(fields) === undefined) return;
  for (const key of ["rescale_offset", "include_top"]) if (fields.value(key) === true) fields.refuse(key, none);
}

/** Expresses (byte · factor − offset − mean) / std as the mean and std of values from 0 to 1. */
function colorsOf(fields: ProcessorFields, kind: Kind): Colors {
  const rescales = fields.flag("do_rescale", true);
  const factor = fields.number("rescale_factor", 1 / 255);
  const offset = fields.flag("rescale_offset", false) && rescales ? 1 : 0;
  const own = {
    mean: fields.colors("image_mean", kind.mean),
    std: fields.colors("image_std", kind.std, { positive: true }),
  };
  const { mean, std }: Colors = fields.flag("do_normalize", true) ? own : UNCHANGED;
  const again = fields.flag("include_top", kind.dividesTwice ?? false) ? own.std : UNCHANGED.std;
  // In files 1 / 255 is a rounded decimal.
  const scale = !rescales ? 255 : Math.abs(255 * factor - 1) < 1e-9 ? 1 : 255 * factor;
  return {
    mean: each(mean, (value) => (value + offset) / scale),
    std: each(std, (value, i) => (value * (again[i] as number)) / scale),
  };
}

const each = (values: Triple, change: (value: number, i: number) => number): Triple =>
  values.map(change) as unknown as Triple;

function interpolationOf(fields: ProcessorFields, { resample }: Kind): Interpolation {
  const number = fields.value("resample");
  if (number === undefined) return resample;
  const known = RESAMPLES.map((name, i) => `${i} (${name})`).join(", ");
  return (typeof number === "number" && RESAMPLES[number]) || fields.refuse("resample", `expected one of ${known}`);
}

type Cropping = Pick<ImageSettings, "size" | "cropShare" | "cropMode">;

/**
 * The sizes in the file, in pixels: `side` of the shorter side or of both, `shortest` if it is the shorter, and the
 * center crop.
 */
function sidesOf(fields: ProcessorFields, kind: Kind) {
  const squares = fields.flag("default_to_square", !kind.shortest);
  const isPlain = typeof (fields.value("size") ?? kind.size) === "number";
  const shortest = fields.shortest("size") ?? (isPlain && !squares ? fields.square("size", kind.size) : undefined);
  const side = shortest ?? fields.square("size", kind.size);
  const crops = fields.flag("do_center_crop", kind.crop !== undefined);
  const crop = crops ? fields.square("crop_size", kind.crop ?? side) : undefined;
  return { shortest, side, crop };
}

function croppingOf(fields: ProcessorFields, kind: Kind): Cropping {
  if (!fields.flag("do_resize", true)) {
    fields.refuse("do_resize", "images are always resized here; make it true and size what your images have");
  }
  const { shortest, side, crop } = sidesOf(fields, kind);
  if (kind.cropShare !== undefined) return convnextCropping(fields, { share: kind.cropShare, shortest, crop });
  if (shortest !== undefined && crop === undefined) {
    fields.refuse("size", "the shorter side alone leaves rectangles; add do_center_crop and crop_size");
  }
  const edge = shortest === undefined ? side : (kind.resized?.(shortest) ?? shortest);
  const kept = crop ?? edge;
  if (kept > edge) fields.refuse("crop_size", `it is larger than what images are resized to, ${edge}`);
  return { size: kept, cropShare: shareOf(kept, edge), cropMode: shortest === undefined ? "squash" : "center" };
}

/** From this size on, ConvNext's processor, which ResNets also use, does not crop. */
const WHOLE_FROM = 384;

function convnextCropping(
  fields: ProcessorFields,
  { share, shortest, crop }: { share: number; shortest: number | undefined; crop: number | undefined },
): Cropping {
  const size = shortest ?? fields.refuse("size", "a processor with crop_pct takes a number, or shortest_edge");
  if (crop !== undefined && crop !== size) fields.refuse("crop_size", `crop_pct leaves ${size}; make it that`);
  const cropShare = fields.number("crop_pct", share);
  if (cropShare > 1) fields.refuse("crop_pct", "expected at most 1");
  return size < WHOLE_FROM ? { size, cropShare, cropMode: "center" } : { size, cropShare: 1, cropMode: "squash" };
}

/** The share for which floor(kept / share) is the side, in spite of rounding errors. */
function shareOf(kept: number, side: number): number {
  const share = kept / side;
  return Math.floor(kept / share) < side ? share * (1 - Number.EPSILON) : share;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * The values of preprocessor_config.json by key, each checked when it is read. null counts as missing, as in
 * transformers.
 */
class ProcessorFields {
  private readonly json: Fields;
  private readonly file: string;

  /** @param file name of the file in errors */
  constructor(json: Fields, file: string) {
    this.json = json;
    this.file = file;
  }

  get keys(): string[] {
    return Object.keys(this.json);
  }

  value(key: string): unknown {
    return Object.hasOwn(this.json, key) ? (this.json[key] ?? undefined) : undefined;
  }

  /** @throws ModelError that names the key, its value, and what was expected */
  refuse(key: string, rule: string): never {
    const value = this.value(key);
    const is = value === undefined ? "is missing" : `is ${JSON.stringify(value).slice(0, 80)}`;
    throw new ModelError(`${key} ${is}: ${rule}`, { file: this.file });
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.value(key) ?? otherwise;
    return typeof value === "boolean" ? value : this.refuse(key, "expected true or false");
  }

  /** A number above 0. */
  number(key: string, otherwise: number): number {
    const value = this.value(key) ?? otherwise;
    const holds = typeof value === "number" && Number.isFinite(value) && value > 0;
    return holds ? value : this.refuse(key, "expected a number above 0");
  }

  /** Red, green and blue; one number stands for all three. */
  colors(key: string, otherwise: Triple, { positive = false } = {}): Triple {
    const value = this.value(key) ?? otherwise;
    const three: unknown = typeof value === "number" ? [value, value, value] : value;
    const isColor = (one: unknown) => Number.isFinite(one) && (!positive || (one as number) > 0);
    if (Array.isArray(three) && three.length === 3 && three.every(isColor)) return three as unknown as Triple;
    return this.refuse(key, `expected three numbers${positive ? " above 0" : ""}`);
  }

  /** Side of a square in pixels: a number, two equal numbers in a list, or equal `height` and `width`. */
  square(key: string, otherwise: number): number {
    const value = this.value(key) ?? otherwise;
    const pair = Array.isArray(value) ? { height: value[0], width: value[1], more: value[2] } : value;
    const { height, width, ...more } = (typeof pair === "object" ? pair : { height: pair, width: pair }) as Fields;
    const [other] = Object.entries(more).find(([, one]) => one != null) ?? [];
    if (other !== undefined) this.refuse(key, `${other} is not done here; give height and width`);
    if (!isPixels(height) || !isPixels(width)) this.refuse(key, "expected whole numbers of pixels");
    return height === width ? height : this.refuse(key, "images are made square here; give one number for both");
  }

  /** `shortest_edge`, if the value has this and nothing else. */
  shortest(key: string): number | undefined {
    const value = this.value(key);
    if (typeof value !== "object" || Array.isArray(value)) return undefined;
    const { shortest_edge: side, ...more } = value as Fields;
    if (side == null) return undefined;
    const [other] = Object.entries(more).find(([, one]) => one != null) ?? [];
    if (other !== undefined) this.refuse(key, `${other} beside shortest_edge is not done here; leave it out`);
    return isPixels(side) ? side : this.refuse(key, "expected a whole number of pixels");
  }
}

const isPixels = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;
