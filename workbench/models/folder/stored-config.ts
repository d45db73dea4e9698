// The config.json of a model as it is saved: what it was read with, what transformers needs, and the "gblr" part about
// its structured layers.

import { FORMAT } from "../../../hub/model-folder/index.ts";
import { pythonConfig } from "../../../hub/python/index.ts";
import { isTimm } from "../../architectures/parts/timm-config.ts";
import { isClassifier } from "../../architectures/task.ts";
import { modelCounts } from "../counts.ts";
import { imageSettings } from "../images/image-settings.ts";
import type { Model } from "../model.ts";
import type { StoredLayerConfig } from "./stored-layers.ts";

export interface StoredConfigOptions {
  layers: Readonly<Record<string, StoredLayerConfig>>;
  /** name of the dense model, as on the Hub */
  baseModel?: string | undefined;
  /** more fields of the "gblr" part, e.g. `budget`; they must not be those that are written here */
  gblr?: Readonly<Record<string, unknown>> | undefined;
}

export async function storedConfig(
  model: Model,
  { layers, baseModel, gblr = {} }: StoredConfigOptions,
): Promise<Record<string, unknown>> {
  const { gblr: before, ...json } = model.json;
  const structures = Object.values(layers).map(({ structure }) => structure);
  const [structure] = structures.toSorted((a, b) => countOf(structures, b) - countOf(structures, a));
  const known = { model_type: model.architecture.type, ...json };
  const config: Record<string, unknown> = {
    ...pythonConfig(known, structure !== undefined, model.architecture.python),
    ...savedType(json),
  };
  // timm's checkpoints say what they are in a field of their own; model_type would be transformers' to read.
  if (structure === undefined && isTimm(json)) delete config.model_type;
  if (structure === undefined) return config;
  const { reference, actual } = await modelCounts(model);
  const base = baseModel ?? (before as { base_model?: string } | undefined)?.base_model;
  const part = {
    format: FORMAT,
    structure,
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

/** What its images must be prepared by: for readers that do not know every processor of Hugging Face's. */
function storedImages(model: Model): Record<string, unknown> {
  const { size, mean, std, interpolation, cropShare, cropMode, cropRounding, transparency } = imageSettings(model);
  return {
    ...{ size, mean, std, interpolation, crop_share: cropShare, crop_mode: cropMode },
    ...(cropRounding && { crop_rounding: cropRounding }),
    ...(transparency && { transparency }),
  };
}

/** What was said of a model as a whole stays true when it is saved again. */
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

/** Files hold float32, whatever the base model's did. */
function savedType(json: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const said = ["torch_dtype", "dtype"].filter((field) => json[field] !== undefined);
  return Object.fromEntries(said.map((field) => [field, "float32"]));
}
