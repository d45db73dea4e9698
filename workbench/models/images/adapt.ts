// Adapts a classifier to other classes, another preparation of images, or another image size. config.json and
// preprocessor_config.json keep their format (timm's or Hugging Face's), and all other parameters are kept.

import { dirname } from "node:path";
import { tensor, tidy } from "@tensorflow/tfjs-core";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { type Architecture, parametersOf } from "../../architectures/architecture.ts";
import type { ParameterInfo } from "../../architectures/network.ts";
import { isTimm, withTimmFields } from "../../architectures/parts/config-fields.ts";
import type { CropMode, ImageSettings, Interpolation } from "../../architectures/parts/image-terms.ts";
import { resizedPositions } from "../../architectures/parts/positions.ts";
import { Model } from "../model.ts";
import { variableOf } from "../variables.ts";
import { PREPROCESSOR_FILE, processorForSize, resampleNumber } from "./image-processor.ts";
import { imageSettings } from "./image-settings.ts";

/** The classes of a new head. */
export interface NewHead {
  /** names in the order of class numbers */
  classes: readonly string[];
  /** seed of its initial values, a whole number; default 0 */
  seed?: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** The config.json for other classes, in the format of the given one (timm's or Hugging Face's). */
export function configForClasses(json: Fields, classes: readonly string[]): Record<string, unknown> {
  if (isTimm(json)) {
    const { label_descriptions: _, labels: _1, ...others } = json;
    const count = { num_classes: classes.length };
    const cfg = others.pretrained_cfg == null ? {} : { pretrained_cfg: withoutLabels(others.pretrained_cfg) };
    return { ...withTimmFields({ ...others, ...cfg }, count), ...count, label_names: [...classes] };
  }
  const { num_labels: _, architectures, ...others } = json;
  return {
    ...others,
    ...(Array.isArray(architectures) && { architectures: architectures.map(withHead) }),
    id2label: Object.fromEntries(classes.map((name, i) => [i, name])),
    label2id: Object.fromEntries(classes.map((name, i) => [name, i])),
  };
}

/** The config.json of a classifier without a head, in the format of the given one. */
export function configWithoutHead(json: Fields): Record<string, unknown> {
  if (isTimm(json)) {
    const count = { num_classes: 0 };
    return { ...withTimmFields(json, count), ...count };
  }
  const { id2label: _, label2id: _1, num_labels: _2, architectures, ...others } = json;
  const body = (name: unknown) => (typeof name === "string" ? name.replace(/ForImageClassification$/, "Model") : name);
  return { ...others, ...(Array.isArray(architectures) && { architectures: architectures.map(body) }) };
}

function withoutLabels(cfg: object): object {
  const { label_names: _, label_descriptions: _1, labels: _2, ...others } = cfg as Fields;
  return others;
}

/** transformers' class for the same model with a head. */
const withHead = (name: unknown): unknown =>
  typeof name === "string" ? name.replace(/Model$/, "ForImageClassification") : name;

/**
 * The parameters whose shapes depend on the number of classes.
 * @param json content of config.json
 * @param file its name in errors
 * @throws ModelError when there are none
 */
export function headParameters(architecture: Architecture, json: Fields, file: string): Map<string, ParameterInfo> {
  const [own, other] = [3, 4].map((count) => {
    const classes = Array.from({ length: count }, (_, i) => String(i));
    return parametersOf(architecture, architecture.readConfig(configForClasses(json, classes), file));
  }) as [Map<string, ParameterInfo>, Map<string, ParameterInfo>];
  const names = [...own.keys()].filter((name) => String(own.get(name)?.shape) !== String(other.get(name)?.shape));
  if (names.length === 0) throw new ModelError(`is a ${architecture.type}, which has no classification head`, { file });
  const now = parametersOf(architecture, architecture.readConfig({ ...json }, file));
  return new Map(names.map((name) => [name, now.get(name) as ParameterInfo]));
}

/** Settings of image preparation that replace those of the model. */
export interface Preparation {
  cropShare?: number | undefined;
  cropMode?: CropMode | undefined;
  interpolation?: Interpolation | undefined;
}

type Described = Pick<Model, "architecture" | "config" | "json" | "preprocessor">;

/**
 * Changes config.json or preprocessor_config.json to another preparation. They are returned unchanged if they have it
 * already.
 * @param file name in errors
 * @throws ModelError for a crop mode that Hugging Face's processors do not have
 */
export function prepared(model: Described, asked: Preparation, file: string): Pick<Described, "json" | "preprocessor"> {
  const { json, preprocessor } = model;
  const own = imageSettings(model, dirname(file));
  const now = { ...own, ...defined(asked) };
  const fields = ["cropShare", "cropMode", "interpolation"] as const;
  if (fields.every((field) => own[field] === now[field])) return { json, preprocessor };
  if (!isTimm(json)) return { json, preprocessor: processorOf(now, preprocessor ?? {}, file) };
  const said = { crop_pct: now.cropShare, crop_mode: now.cropMode, interpolation: now.interpolation };
  // If some fields are given, timm uses its global defaults for the others instead of the architecture's.
  const all = { mean: own.mean, std: own.std, ...said };
  return { json: withTimmFields(json, all), preprocessor };
}

/** Fields that are not undefined. */
const defined = (asked: Preparation): Preparation =>
  Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));

/** The preprocessor_config.json with these settings; mean and std refer to values from 0 to 1. */
function processorOf(
  { size, mean, std, interpolation, cropShare, cropMode, transparency }: ImageSettings,
  before: Readonly<Record<string, unknown>>,
  file: string,
): Record<string, unknown> {
  if (cropMode === "border") {
    throw new ModelError("Hugging Face has no image processor that adds a border; use crop mode center or squash", {
      file,
    });
  }
  const others = Object.fromEntries(Object.entries(before).filter(([key]) => !REPLACED.has(key)));
  const edge = Math.floor(size / cropShare);
  const square = (side: number) => ({ height: side, width: side });
  const crops = cropMode === "center" || edge > size;
  const type = cropMode === "center" ? "CLIPImageProcessor" : crops ? "DeiTImageProcessor" : "ViTImageProcessor";
  const isWhite = transparency === "white";
  return {
    ...others,
    image_processor_type: type,
    ...((isWhite || cropMode === "center") && { do_convert_rgb: isWhite }),
    do_resize: true,
    size: cropMode === "center" ? { shortest_edge: edge } : square(edge),
    resample: resampleNumber(interpolation),
    ...(crops && { do_center_crop: true, crop_size: square(size) }),
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: std,
  };
}

/** Keys that the new settings replace. */
const REPLACED: ReadonlySet<string> = new Set([
  ...["feature_extractor_type", "default_to_square", "do_convert_rgb", "do_center_crop", "crop_size", "crop_pct"],
  ...["rescale_offset", "include_top"],
]);

/**
 * Interpolates the position embeddings of patches for another image size.
 * @param image new rows and columns of images
 * @returns a model with the same other parameters; the given model must not be used afterwards
 * @throws ModelError when the architecture has no positions to interpolate, or the image is smaller than a patch
 */
export async function resizePositions<Config>(model: Model<Config>, image: number): Promise<Model<Config>> {
  const { architecture, config, parameters, layers, masks, prefix, preprocessor } = model;
  const { type, task } = architecture;
  const file = "config";
  if (task.kind !== "image-classification" || !task.positions) {
    throw new ModelError(`a ${type} model has no positions to resize, requested images of ${image}`, { file });
  }
  const before = task.sizes(config).image;
  if (image === before) return model;
  const { parameter, first: rowsBefore, patch: patchOf, resized } = task.positions;
  const [first, patch] = [rowsBefore(config), patchOf(config)];
  if (!Number.isSafeInteger(image) || image < patch) {
    throw new ModelError(`images must be at least one patch of ${patch} wide, got ${image}`, { file });
  }
  const positions = model.parameter(parameter);
  const width = positions.shape[2] as number;
  const to = Math.floor(image / patch);
  const table = (await positions.data()) as Float32Array;
  const all = resizedPositions(table, { first, from: Math.floor(before / patch), to, width });
  const own = tidy(() => tensor(all, [1, first + to ** 2, width]));
  parameters.set(parameter, variableOf(own, { trainable: positions.trainable }));
  positions.dispose();
  return new Model({
    architecture,
    config: resized(config, image),
    json: resizedJson(model.json, image),
    parameters: new Map(parameters),
    layers: new Map(layers),
    masks,
    prefix,
    preprocessor:
      preprocessor && processorForSize(preprocessor, image, { base: task.preparation, file: PREPROCESSOR_FILE }),
  });
}

function resizedJson(json: Readonly<Record<string, unknown>>, image: number): Record<string, unknown> {
  if (!isTimm(json)) return { ...json, image_size: image };
  const { model_args, pretrained_cfg } = json as { model_args?: object; pretrained_cfg?: { input_size?: number[] } };
  const [colors = 3] = pretrained_cfg?.input_size ?? [];
  return {
    ...json,
    model_args: { ...model_args, img_size: image },
    ...(pretrained_cfg && { pretrained_cfg: { ...pretrained_cfg, input_size: [colors, image, image] } }),
  };
}
