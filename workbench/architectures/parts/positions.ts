// A vision transformer for images of another size: the positions of its patches interpolated to the new grid, as timm's
// resample_abs_pos_embed does (bicubic, antialiased where the grid shrinks). Everything else stays.

import { tensor, tidy } from "@tensorflow/tfjs-core";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { Model } from "../../models/model.ts";
import { variableOf } from "../../models/variables.ts";
import type { VitConfig } from "../vit/config.ts";
import { resampled } from "./bicubic.ts";
import { isTimm } from "./timm-config.ts";

/**
 * @param image rows and columns of the images to come
 * @returns the same parameters but the positions under a config for these images; the model given is not to be used
 * after it
 * @throws ModelError when the architecture has no positions that could be interpolated, or no patch fits
 */
export async function resizePositions<Config>(model: Model<Config>, image: number): Promise<Model<Config>> {
  const { architecture, parameters, layers, masks, prefix, preprocessor } = model;
  const file = "config";
  if (architecture.type !== "vit") {
    throw new ModelError(`a ${architecture.type} model has no positions to resize, asked for images of ${image}`, {
      file,
    });
  }
  const config = model.config as VitConfig;
  if (image === config.image) return model;
  if (!Number.isSafeInteger(image) || image < config.patch) {
    throw new ModelError(`images must be at least one patch of ${config.patch} wide, got ${image}`, { file });
  }
  const positions = model.parameter("pos_embed");
  const first = config.classPosition ? 1 : 0;
  const from = Math.floor(config.image / config.patch);
  const to = Math.floor(image / config.patch);
  const values = (await positions.data()) as Float32Array;
  const kept = values.subarray(0, first * config.width);
  const grid = values.subarray(first * config.width);
  const resized = resampled(grid, { rows: from, columns: from, channels: config.width, toRows: to, toColumns: to });
  const all = new Float32Array(kept.length + resized.length);
  all.set(kept);
  all.set(resized, kept.length);
  const shape = [1, first + to ** 2, config.width];
  parameters.set(
    "pos_embed",
    variableOf(
      tidy(() => tensor(all, shape)),
      { trainable: positions.trainable },
    ),
  );
  positions.dispose();
  return new Model({
    architecture,
    config: { ...config, image } as Config,
    json: resizedJson(model.json, image),
    parameters: new Map(parameters),
    layers: new Map(layers),
    masks,
    prefix,
    preprocessor: preprocessor && { ...preprocessor, size: { height: image, width: image } },
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
