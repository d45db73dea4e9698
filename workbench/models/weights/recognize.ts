// Recognizes the model in a file of weights by the names and shapes of its tensors. The result is the architecture, a
// config.json, and the settings that were assumed because the tensors do not determine them. Without other settings,
// the image preparation is the architecture's usual one.

import { findLayers, ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorFile, TensorInfo } from "../../../hub/safetensors/index.ts";
import {
  type Architecture,
  type AssumedSettings,
  namesOf,
  parametersOf,
  type WeightsFile,
} from "../../architectures/architecture.ts";
import { findSetting, HeadsUnknown, isCount, sideOf, usualHeads } from "../../architectures/parts/checkpoint.ts";
import type { ImageSettings, UsualPreparation } from "../../architectures/parts/image-terms.ts";
import { imageTaskOf } from "../../architectures/task.ts";
import { storedParameters } from "../folder/stored-parameters.ts";
import { configWithoutHead } from "../images/adapt.ts";
import { imageSettings } from "../images/image-settings.ts";
import { expectHead, settleHead } from "./heads.ts";
import { type FoundKind, type ModelTensors, modelTensors } from "./model-tensors.ts";

/** An open file of weights. */
export interface Weights extends Pick<WeightsFile, "rest" | "tied"> {
  /** name of the file in errors */
  file: string;
  tensors: TensorFile;
}

/** Settings that the shapes do not determine. Those that are not given have the architecture's usual values. */
export interface WeightsOptions extends ImageOptions {
  /** number of attention heads. Default: that of the hyper-parameters in the file, else width / 64 */
  heads?: number | undefined;
  /** base of rotary positions. Default: that of the hyper-parameters in the file, else the usual one */
  ropeTheta?: number | undefined;
  /** whether the head is left out. Default false */
  dropHead?: boolean | undefined;
}

/** The settings that were assumed because they were not given. */
export interface Assumed extends AssumedImages, Partial<AssumedSettings> {
  heads?: number;
  /** components of a head, of a family in which they are not always 64 */
  headSize?: number;
}

/** A recognized model. */
export interface Recognized {
  architecture: Architecture;
  config: Record<string, unknown>;
  /** content of preprocessor_config.json, for image models in Hugging Face's format */
  preprocessor?: Record<string, unknown>;
  /** `config` as the architecture reads it; of a classifier without a head as if it had one class */
  settings: unknown;
  /** whether it is a classifier without a head */
  isHeadless: boolean;
  assumed: Assumed;
  /** names of the file's other tensors, such as an optimizer's */
  others: string[];
  /** the model's tensors under the names of the model folder */
  tensors: TensorFile;
}

/**
 * Recognizes the model in a file of weights.
 * @returns undefined if the architecture is unknown
 * @throws ModelError if the tensors do not fit the architecture, or a setting cannot be derived
 */
export function recognize(weights: Weights, options: WeightsOptions = {}): Recognized | undefined {
  const { file } = weights;
  const inFile = modelTensors(weights.tensors);
  if (!inFile) return undefined;
  const headed = settleHead(inFile, { file, all: weights.tensors, dropHead: options.dropHead });
  const { found, isHeadless } = headed;
  const { kind, tensors } = found;
  const { architecture, reader } = kind;
  const seen = seenBy(found, weights, isHeadless);
  const { count, ...assumedHeads } = headsOf(kind, { seen, rest: weights.rest }, options);
  const reading = { heads: count, ropeTheta: options.ropeTheta };
  const plain = reader.config(seen, reading);
  const cfg = plain.pretrained_cfg as Record<string, unknown> | undefined;
  const usual = found.naming?.preparation;
  const images = cfg && usualImages(cfg, { ...options, architecture, file, usual });
  const described = images ? { ...plain, pretrained_cfg: images.cfg } : plain;
  const own: Pick<Recognized, "config" | "preprocessor"> =
    images && kind.prefix !== "" && reader.forTransformers
      ? reader.forTransformers(architecture.readConfig(described, file), seen, images)
      : { config: described };
  const settings = architecture.readConfig({ ...own.config }, file);
  if (!isHeadless) expectHead(found, settings, file);
  expectParameters(found, { settings, file, isHeadless });
  const model = { architecture, config: settings, json: own.config, preprocessor: own.preprocessor };
  const assumed = {
    ...assumedHeads,
    ...reader.assumed?.(seen, reading),
    ...(images && assumedImages(model, options)),
  };
  const others = [...weights.tensors.tensors.keys()].filter(
    (name) => !name.startsWith(found.prefix) && !headed.beside.includes(name),
  );
  const config = isHeadless ? configWithoutHead(own.config) : own.config;
  return {
    architecture,
    ...own,
    config,
    settings,
    isHeadless,
    assumed,
    others: [...others, ...headed.leftOut],
    tensors,
  };
}

interface ExpectedOptions {
  settings: unknown;
  file: string;
  isHeadless: boolean;
}

/** @throws ModelError if a tensor is missing, unexpected or of wrong shape, or a layer is structured */
function expectParameters(
  { kind: { architecture, reader }, tensors }: ModelTensors,
  { settings, file, isHeadless }: ExpectedOptions,
): void {
  const { layers } = findLayers({ path: file, tensors });
  const names = [...parametersOf(architecture, settings).keys()];
  const without = new Set(isHeadless ? names.filter((name) => name.startsWith(`${reader.head}.`)) : []);
  const stored = storedParameters({ path: file, tensors, layers }, { architecture, config: settings, without });
  for (const { name: layer, structure } of stored.layers.values()) {
    if (structure.isDense) continue;
    throw new ModelError(`is held as ${structure.name}; of weights alone only dense layers are known`, { file, layer });
  }
}

/** The weights under the names that the reader expects. */
function seenBy({ kind, prefix }: ModelTensors, { file, rest, tied }: Weights, isHeadless: boolean): WeightsFile {
  const { architecture, reader, readerName } = kind;
  // Readers take the number of classes from the head's bias.
  const bias = namesOf(architecture).storedName(`${reader.head}.bias`, reader.prefix ?? "");
  const seen = isHeadless ? new Map([...kind.seen, [bias, ONE_CLASS] as const]) : kind.seen;
  const called = (name: string) => readerName(name.slice(prefix.length));
  const own = [...tied].filter((names) => names.every((name) => name.startsWith(prefix)));
  const ties = own.map(([name, first]) => [called(name), called(first)] as const);
  return { file, tensors: seen, rest: { hyper_parameters: rest }, tied: new Map(ties) };
}

const ONE_CLASS: TensorInfo = { dtype: "F32", shape: [1], byteLength: 4 };

const HEADS = ["num_heads", "n_head", "num_attention_heads"];

interface HeadSources {
  seen: WeightsFile;
  rest: Weights["rest"];
}

/** @returns the number of heads, and those properties of them that are assumed */
function headsOf({ reader }: FoundKind, { seen, rest }: HeadSources, { heads }: WeightsOptions) {
  const { width } = reader;
  const stored = findSetting(rest, HEADS, isCount);
  if (reader.heads === undefined) {
    if (width === undefined) return {};
    const given = heads ?? stored;
    if (given !== undefined) return { count: given };
    const count = usualHeads(sideOf(seen, ...width), seen.file);
    return { count, heads: count };
  }
  const own = reader.heads(seen);
  const { file } = seen;
  if (own?.isDetermined) {
    if (heads === undefined || heads === own.count) return { count: own.count };
    throw new ModelError(`has ${own.count} heads by its tensors, not the ${heads} of --heads`, { file });
  }
  const given = heads ?? stored;
  if (given !== undefined) return { count: given };
  if (!own) throw new HeadsUnknown("does not tell how many heads it has; say how many with --heads", { file });
  return { count: own.count, heads: own.count, headSize: own.headSize };
}

/** Settings of images that the tensors do not determine. */
export interface ImageOptions {
  /** rows and columns of images, if the position embeddings do not determine them. Default 224 */
  imageSize?: number | undefined;
  /** subtracted from each color, whose values are from 0 to 1 */
  mean?: ImageSettings["mean"] | undefined;
  /** divisor of each color after the subtraction of `mean` */
  std?: ImageSettings["std"] | undefined;
}

/** The image settings that were assumed because they were not given. */
export type AssumedImages = Partial<
  Pick<ImageSettings, "mean" | "std" | "interpolation" | "cropShare" | "cropMode"> & { imageSize: number }
>;

/** The usual preparation of images. */
export interface UsualImages extends Pick<ImageSettings, "size" | "mean" | "std"> {
  /** `pretrained_cfg` of timm's config.json */
  cfg: Record<string, unknown>;
}

export interface UsualImagesOptions extends ImageOptions {
  architecture: Architecture;
  /** name of the weights in errors */
  file: string;
  usual?: UsualPreparation | undefined;
}

/**
 * Fills in the usual preparation of images.
 * @param cfg `pretrained_cfg` with the `input_size` that follows from the shapes
 * @param options.usual the usual preparation. Default: the architecture's
 * @throws ModelError if the requested size differs from that of the position embeddings
 */
function usualImages(
  cfg: Record<string, unknown>,
  { architecture, file, usual, ...options }: UsualImagesOptions,
): UsualImages {
  const { preparation, anySize } = imageTaskOf({ architecture });
  const { interpolation, cropShare, cropMode, ...colorsOf } = usual ?? preparation;
  const [colors, told] = cfg.input_size as [number, number, number];
  const { imageSize: size = told, mean = colorsOf.mean, std = colorsOf.std } = options;
  if (!anySize && size !== told) {
    throw new ModelError(`its positions are those of images of ${told} × ${told}, not ${size} × ${size}`, { file });
  }
  const said = { mean, std, interpolation, crop_pct: cropShare, crop_mode: cropMode };
  return {
    size,
    mean,
    std,
    cfg: { ...cfg, input_size: [colors, size, size], ...said },
  };
}

/** Settings of a recognized classifier that the user did not give. */
function assumedImages(
  model: Parameters<typeof imageSettings>[0],
  { imageSize, mean, std }: ImageOptions,
): AssumedImages {
  const own = imageSettings(model);
  return {
    ...(imageTaskOf(model).anySize && imageSize === undefined && { imageSize: own.size }),
    ...(mean === undefined && { mean: own.mean }),
    ...(std === undefined && { std: own.std }),
    interpolation: own.interpolation,
    cropShare: own.cropShare,
    cropMode: own.cropMode,
  };
}
