// How images must be prepared for a model, and what its classes are called: from config.json, timm's `pretrained_cfg` in
// it, or Hugging Face's preprocessor_config.json beside it. The images themselves are data/'s.

import { join } from "node:path";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { isClassifier } from "../../architectures/parts/classifier.ts";
import type { ImageSettings } from "../../architectures/parts/image-terms.ts";
import { isTimm } from "../../architectures/parts/timm-config.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { Model } from "../model.ts";
import { HALF, IMAGENET, PREPROCESSOR_FILE, processorSettings } from "./image-processor.ts";
import { timmLabels, timmPreparation } from "./timm-preparation.ts";

type Fields = Readonly<Record<string, unknown>>;

export type Preparation = Readonly<Omit<ImageSettings, "size" | "classes">>;

/** torchvision's presets for evaluation. */
export const TORCHVISION: Preparation = {
  ...IMAGENET,
  interpolation: "bilinear",
  cropShare: 0.875,
  cropMode: "center",
};

/** What each family's checkpoints were trained with where theirs do not say. */
const DEFAULTS: Readonly<Record<string, Preparation>> = {
  vit: { ...HALF, interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
  mixer: { ...HALF, interpolation: "bicubic", cropShare: 0.875, cropMode: "center" },
  resnet: TORCHVISION,
};

/** How images of a family's checkpoints are usually prepared. @param type `model_type` of a classifier */
export const usualPreparation = (type: string) => DEFAULTS[type];

/**
 * @param folder of the model, for errors
 * @throws EngineError when the model classifies no images; ModelError for a preparation that makes no sense, or that is not
 *   done here
 */
export function imageSettings<Config>(
  model: Pick<Model<Config>, "architecture" | "config" | "json" | "preprocessor">,
  folder = "",
): ImageSettings {
  const { architecture, json, preprocessor = {} } = model;
  if (!isClassifier(model)) {
    throw new EngineError(`a ${architecture.type} model takes no images`, "give a vit, resnet or mixer model");
  }
  const { image, classes } = model.config as { image: number; classes: number };
  const base = DEFAULTS[architecture.type] as Preparation;
  const labels = labelsOf(json, classes);
  const own = isTimm(json)
    ? timmPreparation(json, join(folder, CONFIG_FILE))
    : Object.keys(preprocessor).length > 0
      ? processorSettings(preprocessor, { base, file: join(folder, PREPROCESSOR_FILE) })
      : {};
  // Networks without positions take images as large as they were trained with.
  const size = architecture.type === "resnet" ? (own.size ?? image) : image;
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
