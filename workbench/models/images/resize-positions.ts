// A classifier for images of another size, where its positions are those of patches: they are interpolated to the new grid.
// Everything else stays.

import { tensor, tidy } from "@tensorflow/tfjs-core";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { resizedPositions } from "../../architectures/parts/positions.ts";
import { isTimm } from "../../architectures/parts/timm-config.ts";
import { Model } from "../model.ts";
import { variableOf } from "../variables.ts";

/**
 * @param image rows and columns of the images to come
 * @returns the same parameters but the positions under a config for these images; the model given is not to be used
 * after it
 * @throws ModelError when the architecture has no positions that could be interpolated, or no patch fits
 */
export async function resizePositions<Config>(model: Model<Config>, image: number): Promise<Model<Config>> {
  const { architecture, config, parameters, layers, masks, prefix, preprocessor } = model;
  const { type, task } = architecture;
  const file = "config";
  if (task.kind !== "image-classification" || !task.positions) {
    throw new ModelError(`a ${type} model has no positions to resize, asked for images of ${image}`, { file });
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
