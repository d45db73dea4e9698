// How the images of recognized weights are prepared: as is usual for the architecture, but for what a user says. What is
// usual and was not said is told: no tensor tells it.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { Architecture } from "../../architectures/architecture.ts";
import type { ImageSettings, UsualPreparation } from "../../architectures/parts/image-terms.ts";
import { imageTaskOf } from "../../architectures/task.ts";
import { imageSettings } from "../images/image-settings.ts";

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

export interface UsualImagesOptions extends ImageOptions {
  architecture: Architecture;
  /** what errors call the weights */
  file: string;
  usual?: UsualPreparation | undefined;
}

/**
 * @param cfg `pretrained_cfg` as the shapes tell it: with `input_size`
 * @param options.usual what is assumed. Default what is usual for the architecture
 * @throws ModelError for another size than positions have
 */
export function usualImages(
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

/** What a recognized classifier is said to want, without having been asked. */
export function assumedImages(
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
