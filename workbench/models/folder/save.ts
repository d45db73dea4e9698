// Saves a model: determines the tensors of each file and the content of config.json, which consists of the fields with
// which the model was loaded, the fields that transformers needs, and "gblr". write-folder.ts writes the files.

import { FORMAT, HALF_FORMAT, INT8_FORMAT, ModelError, PACKED_PARTS } from "../../../hub/model-folder/index.ts";
import { pythonConfig } from "../../../hub/python/index.ts";
import { fromFloat32, int8Sources, type TensorSource } from "../../../hub/safetensors/index.ts";
import { namesOf } from "../../architectures/architecture.ts";
import { isTimm } from "../../architectures/parts/config-fields.ts";
import { isClassifier } from "../../architectures/task.ts";
import { MOST_CANCELLATION } from "../../structures/factor-sizes.ts";
import { modelCounts } from "../counts.ts";
import { imageSettings } from "../images/image-settings.ts";
import type { Model } from "../model.ts";
import { layersWrongInInt8 } from "./int8-error.ts";
import { type StoredLayerConfig, storedTensors } from "./stored-layers.ts";
import { prepareFolder, type SaveEvent, writeModelFolder } from "./write-folder.ts";

/** Number types in files, by their names in config.json. */
export const FILE_TYPES = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const;
/** Real number types in which a model can be saved. */
export type FileType = keyof typeof FILE_TYPES;
/** Number types in which a model can be saved: also 8-bit integers with a scale for each group of 32 values. */
export type SavedType = FileType | "int8";

/** Options of `saveModel`. */
export interface SaveOptions {
  /** whether to write trainable.safetensors too, so that GBLR layers can be trained further. Default false */
  trainable?: boolean;
  /** the dense model: its name goes into config.json; tokenizer and preprocessor files are copied from its folder */
  base?: { folder?: string | undefined; name?: string | undefined };
  /** more fields of config.json's "gblr" part, e.g. `{ budget: 0.4375 }` */
  gblr?: Readonly<Record<string, unknown>>;
  /** texts of further files, by name */
  texts?: ReadonlyMap<string, string> | undefined;
  /** number type in files, apart from indices, and for int8 from vectors, which are float32. Default `float32` */
  dtype?: SavedType;
  /** layers that are float32 whatever `dtype` is. Default those of `layersKeptExact` */
  exact?: readonly string[];
  /** maximum bytes of tensors per file. Default 5 GB */
  maxShardBytes?: number;
  /** most bytes of packed forms kept in memory until they are written; others are packed twice. Default 0.5 GB */
  packedBytes?: number;
}

/**
 * Saves a model as a model folder.
 * @param folder created if it does not exist
 * @throws ModelError, SafetensorsError when it cannot be written; the folder is then unchanged
 * @throws ModelError for `trainable` with a model that was loaded packed, or in half precision
 */
export async function* saveModel<Config>(
  model: Model<Config>,
  folder: string,
  options: SaveOptions = {},
): AsyncGenerator<SaveEvent> {
  const { trainable = false, base = {}, gblr, texts, dtype = "float32", maxShardBytes, packedBytes } = options;
  const saved = model as Model;
  expectTrainable(saved, { trainable, folder });
  if (trainable && dtype !== "float32") {
    throw new ModelError("the trainable form is stored in float32; leave out either", { file: folder });
  }
  const nameOf = (name: string) => namesOf(saved.architecture).storedName(name, saved.prefix);
  const exact = dtype === "float32" ? [] : (options.exact ?? (await layersKeptExact(saved, dtype)));
  const isRounded = dtype === "float32" ? undefined : roundedTensors(saved, exact, nameOf);
  await prepareFolder(folder);
  const tensors = await storedTensors(saved, { packedBytes });
  const needsPython = Object.keys(tensors.layers).length > 0 || dtype === "int8";
  const format = FORMATS[dtype];
  const config = await storedConfig(saved, { layers: tensors.layers, baseModel: base.name, gblr, format });
  yield* writeModelFolder(folder, {
    model: tensors.model.flatMap((source) =>
      isRounded?.(source.name) ? rounded(source, { dtype, folder }) : [source],
    ),
    training: trainable ? tensors.trainable : [],
    // Python computes with structured layers in float32, whatever their type in files.
    config: isRounded ? { ...config, torch_dtype: needsPython ? "float32" : dtype } : config,
    python: needsPython ? saved.architecture.python : undefined,
    preprocessor: saved.preprocessor,
    base: base.folder,
    ...(texts && { texts }),
    maxShardBytes,
  });
}

/**
 * Saves a model without reporting events.
 * @returns names of the files in the folder
 */
export async function saveModelNow<Config>(
  model: Model<Config>,
  folder: string,
  options: SaveOptions = {},
): Promise<string[]> {
  for await (const event of saveModel(model, folder, options)) {
    if (event.kind === "saved") return event.files;
  }
  throw new ModelError("saving ended early", { file: folder });
}

function expectTrainable({ layers }: Model, { trainable, folder }: { trainable: boolean; folder: string }): void {
  const packed = [...layers.values()].find(({ structure }) => structure.isTrainable === false);
  if (!trainable || !packed) return;
  const problem = "is packed, and its trainable form is not loaded; load the model as trainable to save it so";
  throw new ModelError(problem, { file: folder, layer: packed.name });
}

/** The version of a folder with structured layers, by number type. */
const FORMATS: Readonly<Record<SavedType, number>> = {
  ...{ float32: FORMAT, float16: HALF_FORMAT, bfloat16: HALF_FORMAT },
  int8: INT8_FORMAT,
};

/**
 * The layers that rounding would change too much, which are stored in float32. In half precision these are layers whose
 * terms are much larger than their sum, so that rounding the terms is a large change of the sum. In int8 the change is
 * measured.
 */
export async function layersKeptExact(model: Model, dtype: SavedType = "bfloat16"): Promise<string[]> {
  if (dtype === "int8") return layersWrongInInt8(model);
  const found: string[] = [];
  for (const { name, structure } of model.layers.values()) {
    const ratio = await structure.cancellation?.(model.structureParameters(name));
    if (ratio !== undefined && ratio > MOST_CANCELLATION) found.push(name);
  }
  return found;
}

/**
 * Whether a tensor of a file, by its name there, is stored in half precision.
 * @param exact layers that are not
 * @param nameOf the name in the file for the name of a layer
 */
export function roundedTensors(
  model: Model,
  exact: readonly string[],
  nameOf: (layer: string) => string,
): (stored: string) => boolean {
  const kept = new Set<string>();
  for (const { name, structure } of model.layers.values()) {
    const parts = exact.includes(name) ? [...structure.parameterNames, ...PACKED_PARTS] : (structure.fixed ?? []);
    for (const part of parts) kept.add(`${nameOf(name)}.${part}`);
  }
  return (stored) => !kept.has(stored);
}

/** The tensors of a file for one that is rounded. In int8, vectors that are no parameters of a structure are not. */
function rounded(source: TensorSource, { dtype, folder }: { dtype: SavedType; folder: string }): TensorSource[] {
  if (dtype !== "int8") return [inType(source, dtype)];
  const [, part = ""] = /\.([^.]*)$/.exec(source.name) ?? [];
  const isFactor = PACKED_PARTS.some((known) => known === part);
  if (source.dtype !== "F32" || !(source.shape.length > 1 || isFactor)) return [source];
  const place = { file: folder, tensor: source.name };
  return int8Sources(source, (problem, options) => new ModelError(problem, place, options));
}

/** A float32 tensor in another number type; other tensors as they are. */
export function inType(source: TensorSource, type: FileType): TensorSource {
  const dtype = FILE_TYPES[type];
  if (source.dtype !== "F32") return source;
  const { name, shape, data } = source;
  return { name, dtype, shape, data: () => converted(data as Float32Array | (() => AsyncIterable<Uint8Array>), dtype) };
}

/** Converts piece by piece. Pieces are whole values, see `bytesOf` of stored-layers.ts. */
async function* converted(
  data: Float32Array | (() => AsyncIterable<Uint8Array>),
  dtype: (typeof FILE_TYPES)[FileType],
): AsyncGenerator<Uint8Array> {
  const pieces = typeof data === "function" ? data() : [data];
  for await (const { buffer, byteOffset, byteLength } of pieces) {
    const values = new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT);
    const stored = fromFloat32(values, { dtype, shape: [values.length] }).data as Uint16Array;
    yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  }
}

/** Options of `storedConfig`. */
export interface StoredConfigOptions {
  layers: Readonly<Record<string, StoredLayerConfig>>;
  /** name of the dense model on the Hub */
  baseModel?: string | undefined;
  /** more fields of the "gblr" part, e.g. `budget`; must not overlap with the fields that are written here */
  gblr?: Readonly<Record<string, unknown>> | undefined;
  /** version of the "gblr" part. Default that of float32 */
  format?: number;
}

/** The config.json of a model folder. */
export async function storedConfig(
  model: Model,
  { layers, baseModel, gblr = {}, format = FORMAT }: StoredConfigOptions,
): Promise<Record<string, unknown>> {
  const { gblr: before, ...json } = model.json;
  const structures = Object.values(layers).map(({ structure }) => structure);
  const [structure] = structures.toSorted((a, b) => countOf(structures, b) - countOf(structures, a));
  // Tensors in int8 are read by our classes only, in dense models too.
  const hasPart = structure !== undefined || format === INT8_FORMAT;
  const known = { model_type: model.architecture.type, ...json };
  const config: Record<string, unknown> = {
    ...pythonConfig(known, hasPart, model.architecture.python),
    ...savedType(json),
  };
  // timm's config.json names the model in `architecture`; transformers would read `model_type`.
  if (!hasPart && isTimm(json)) delete config.model_type;
  if (!hasPart) return config;
  const { reference, actual } = await modelCounts(model);
  const base = baseModel ?? (before as { base_model?: string } | undefined)?.base_model;
  const part = {
    format,
    ...(structure !== undefined && { structure }),
    ...(base !== undefined && { base_model: base }),
    ...kept(before),
    ...gblr,
    relative_flops: { reference: reference.relative, actual: actual.relative },
    ...(isSmooth(model.masks.sigma) && { sigma: model.masks.sigma }),
    ...(isClassifier(model) && { images: storedImages(model) }),
    layers: Object.fromEntries(
      Object.entries(layers).map(([name, { structure: own, ...sizes }]) => [
        name,
        { ...(own !== structure && { structure: own }), ...sizes },
      ]),
    ),
  };
  return { ...config, gblr: part };
}

const countOf = (all: readonly string[], one: string): number => all.filter((each) => each === one).length;

const isSmooth = (sigma: number | undefined): boolean => sigma !== undefined && Number.isFinite(sigma);

/** The preparation of images, for readers that do not support all of Hugging Face's image processors. */
function storedImages(model: Model): Record<string, unknown> {
  const { size, mean, std, interpolation, cropShare, cropMode, cropRounding, transparency } = imageSettings(model);
  return {
    ...{ size, mean, std, interpolation, crop_share: cropShare, crop_mode: cropMode },
    ...(cropRounding && { crop_rounding: cropRounding }),
    ...(transparency && { transparency }),
  };
}

/** The fields of the earlier "gblr" part that are kept when a model is saved again; all others are written anew. */
function kept(before: unknown): Record<string, unknown> {
  const {
    format: _,
    structure: _1,
    sigma: _2,
    layers: _3,
    relative_flops: _4,
    base_model: _5,
    images: _6,
    ...rest
  } = (before ?? {}) as Record<string, unknown>;
  return rest;
}

/** Sets the number type to float32, which files have regardless of the base model's type. */
function savedType(json: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const said = ["torch_dtype", "dtype"].filter((field) => json[field] !== undefined);
  return Object.fromEntries(said.map((field) => [field, "float32"]));
}
