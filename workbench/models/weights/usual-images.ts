// How the images of recognized weights are prepared: as is usual for the architecture, but for what a user says. What is
// usual and was not said is told: no tensor tells it.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { ImageSettings } from "../../architectures/parts/image-terms.ts";
import { imageSettings, type Preparation, usualPreparation } from "../images/image-settings.ts";

export interface ImageOptions {
  /** rows and columns of images, where positions do not tell. Default 224 */
  imageSize?: number | undefined;
  /** taken off each color, and what it is then divided by; of values from 0 to 1 */
  mean?: ImageSettings["mean"] | undefined;
  std?: ImageSettings["std"] | undefined;
}

/** What was assumed, and not said. */
export type AssumedImages = Partial<
  Pick<ImageSettings, "mean" | "std" | "interpolation" | "cropShare" | "cropMode"> & { imageSize: number }
>;

export interface UsualImages extends Pick<ImageSettings, "size" | "mean" | "std"> {
  /** `pretrained_cfg` of a config.json of timm's */
  cfg: Record<string, unknown>;
}

/**
 * @param cfg `pretrained_cfg` as the shapes tell it: with `input_size`
 * @param type `model_type` of the classifier
 * @param usual what is assumed. Default what is usual for the type
 * @throws ModelError for another size than positions have
 */
export function usualImages(
  cfg: Record<string, unknown>,
  {
    type,
    file,
    usual = usualPreparation(type) as Preparation,
    ...options
  }: ImageOptions & { type: string; file: string; usual?: Preparation | undefined },
): UsualImages {
  const [colors, told] = cfg.input_size as [number, number, number];
  const { imageSize: size = told, mean = usual.mean, std = usual.std } = options;
  if (hasPositions(type) && size !== told) {
    throw new ModelError(`its positions are those of images of ${told} × ${told}, not ${size} × ${size}`, { file });
  }
  const { interpolation, cropShare, cropMode } = usual;
  const said = { mean, std, interpolation, crop_pct: cropShare, crop_mode: cropMode };
  return {
    size,
    mean,
    std,
    cfg: { ...cfg, input_size: [colors, size, size], ...said },
  };
}

const hasPositions = (type: string): boolean => type !== "resnet";

/** What a recognized classifier is said to want, without having been asked. */
export function assumedImages(
  model: Parameters<typeof imageSettings>[0],
  { imageSize, mean, std }: ImageOptions,
): AssumedImages {
  const own = imageSettings(model);
  return {
    ...(!hasPositions(model.architecture.type) && imageSize === undefined && { imageSize: own.size }),
    ...(mean === undefined && { mean: own.mean }),
    ...(std === undefined && { std: own.std }),
    interpolation: own.interpolation,
    cropShare: own.cropShare,
    cropMode: own.cropMode,
  };
}
