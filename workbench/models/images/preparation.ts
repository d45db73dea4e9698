// How a classifier's images are prepared, said anew where an experiment evaluates otherwise than the checkpoint says: what
// was measured is then what its folder says, in the manner of whoever wrote it. Reading it is image-settings.ts's.

import { dirname } from "node:path";
import { ModelError } from "../../../hub/model-folder/index.ts";
import type { CropMode, ImageSettings, Interpolation } from "../../architectures/parts/image-terms.ts";
import { isTimm, withTimmFields } from "../../architectures/parts/timm-config.ts";
import type { Model } from "../model.ts";
import { resampleNumber } from "./image-processor.ts";
import { imageSettings } from "./image-settings.ts";

export interface Preparation {
  cropShare?: number | undefined;
  cropMode?: CropMode | undefined;
  interpolation?: Interpolation | undefined;
}

type Described = Pick<Model, "architecture" | "config" | "json" | "preprocessor">;

/**
 * @param file what errors call it
 * @returns config.json and preprocessor_config.json that say it; those that there are where they do already
 * @throws ModelError for a crop that Hugging Face's processors do not know
 */
export function prepared(model: Described, asked: Preparation, file: string): Pick<Described, "json" | "preprocessor"> {
  const { json, preprocessor } = model;
  const own = imageSettings(model, dirname(file));
  const now = { ...own, ...defined(asked) };
  const fields = ["cropShare", "cropMode", "interpolation"] as const;
  if (fields.every((field) => own[field] === now[field])) return { json, preprocessor };
  if (!isTimm(json)) return { json, preprocessor: processorOf(now, preprocessor ?? {}, file) };
  const said = { crop_pct: now.cropShare, crop_mode: now.cropMode, interpolation: now.interpolation };
  // What is left out beside fields that are said is timm's own, no longer the family's.
  const all = { mean: own.mean, std: own.std, ...said };
  return { json: withTimmFields(json, all), preprocessor };
}

/** Those that are given. */
const defined = (asked: Preparation): Preparation =>
  Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));

/** A processor of transformers' that does just that; mean and std are of values from 0 to 1. */
function processorOf(
  { size, mean, std, interpolation, cropShare, cropMode, transparency }: ImageSettings,
  before: Readonly<Record<string, unknown>>,
  file: string,
): Record<string, unknown> {
  if (cropMode === "border") {
    throw new ModelError("no image processor of Hugging Face's adds a border; crop by center or squash", { file });
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

/** Keys whose values are said anew, in other words where need be. */
const REPLACED: ReadonlySet<string> = new Set([
  ...["feature_extractor_type", "default_to_square", "do_convert_rgb", "do_center_crop", "crop_size", "crop_pct"],
  ...["rescale_offset", "include_top"],
]);
