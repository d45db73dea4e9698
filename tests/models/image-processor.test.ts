// preprocessor_config.json: every key that changes pixels is obeyed, with numbers as Hugging Face's processors have them, or
// refused by name. Comparisons with transformers itself are in tests/python/image-processors.test.ts.

import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { resnet } from "../../workbench/architectures/resnet/architecture.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { imageSettings, saveModelNow } from "../../workbench/models/index.ts";
import { RESNET_TRANSFORMERS, smallVit, VIT_TRANSFORMERS } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";

/** Of a network that takes images of any size. */
const settingsOf = (preprocessor: Record<string, unknown>) =>
  imageSettings({
    architecture: resnet,
    config: resnet.readConfig(RESNET_TRANSFORMERS, "config.json"),
    json: RESNET_TRANSFORMERS,
    preprocessor,
  });

const VIT = { image_processor_type: "ViTImageProcessor", size: 32 };
const HALF = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };

/** What black and white become. */
const ends = (preprocessor: Record<string, unknown>): number[] => {
  const { mean, std } = settingsOf({ ...VIT, ...preprocessor });
  return [0, 1].map((value) => (value - mean[0]) / std[0]);
};

describe("a preprocessor's colors", () => {
  test.each([
    ["are from -1 to 1 by ViT's own mean and deviation", {}, [-1, 1]],
    ["are so by 1 / 255 in decimals", { rescale_factor: 0.00392156862745098 }, [-1, 1]],
    ["have white at 3 by twice the usual factor", { ...HALF, rescale_factor: 0.00784313725490196 }, [-1, 3]],
    ["are bytes less the mean, by the deviation, without rescaling", { ...HALF, do_rescale: false }, [-1, 509]],
    ["are from 0 to 1 without normalizing", { ...HALF, do_normalize: false }, [0, 1]],
    [
      "are from 0 to 2 with another factor and no normalizing",
      { do_normalize: false, rescale_factor: 2 / 255 },
      [0, 2],
    ],
    ["are bytes without both", { ...HALF, do_normalize: false, do_rescale: false }, [0, 255]],
    ["take one number for all three", { image_mean: 0.25, image_std: 0.5 }, [-0.5, 1.5]],
    ["leave null to the processor's own", { image_mean: null, do_normalize: null, rescale_factor: null }, [-1, 1]],
  ] as const)("%s", (_, fields, expected) => {
    for (const [i, value] of ends(fields).entries()) expect(value).toBeCloseTo(expected[i] as number, 9);
  });

  test("are EfficientNet's with one taken off, and divided twice", () => {
    const type = { image_processor_type: "EfficientNetImageProcessor" };
    const fields = { ...type, ...HALF, rescale_factor: 1 / 127.5, rescale_offset: true };
    expect(ends(fields)[0]).toBeCloseTo((-1 - 0.5) / 0.5 / 0.5, 9);
    expect(ends(fields)[1]).toBeCloseTo((1 - 0.5) / 0.5 / 0.5, 9);
    expect(ends({ ...fields, include_top: false })[1]).toBeCloseTo(1, 9);
    expect(ends({ ...fields, rescale_offset: false, include_top: false })[1]).toBeCloseTo(3, 9);
  });
});

describe("a preprocessor's resizing", () => {
  test.each([
    [0, "nearest"],
    [1, "lanczos"],
    [2, "bilinear"],
    [3, "bicubic"],
    [4, "box"],
    [5, "hamming"],
  ] as const)("is by Pillow's filter %d, %s", (resample, interpolation) => {
    expect(settingsOf({ ...VIT, resample }).interpolation).toBe(interpolation);
  });

  const square = (side: number) => ({ height: side, width: side });
  const clip = { image_processor_type: "CLIPImageProcessor" };
  const convnext = { feature_extractor_type: "ConvNextFeatureExtractor" };
  test.each([
    ["ViT's is of both sides", VIT, { size: 32, cropMode: "squash", cropShare: 1, interpolation: "bilinear" }],
    ["of a list", { ...VIT, size: [32, 32] }, { size: 32, cropMode: "squash" }],
    ["DeiT's crops by itself", { image_processor_type: "DeiTImageProcessor" }, { size: 224, cropShare: 0.875 }],
    [
      "DeiT's does not where it must not",
      { image_processor_type: "DeiTImageProcessor", size: square(64), do_center_crop: false },
      { size: 64, cropShare: 1, cropMode: "squash", interpolation: "bicubic" },
    ],
    [
      "ViT's crops where it is told",
      { ...VIT, size: square(64), do_center_crop: true, crop_size: square(48) },
      { size: 48, cropShare: 0.75, cropMode: "squash" },
    ],
    ["CLIP's is of the shorter side", { ...clip, size: 256 }, { size: 224, cropShare: 0.875, cropMode: "center" }],
    [
      "of both where the file says so",
      { ...clip, size: 256, default_to_square: true },
      { size: 224, cropMode: "squash" },
    ],
    [
      "of the shorter side where the file says so",
      { ...VIT, default_to_square: false, do_center_crop: true, crop_size: 24 },
      { size: 24, cropMode: "center", cropShare: 0.75 },
    ],
    ["CLIP's by today's name", { image_processor_type: "CLIPImageProcessorFast" }, { size: 224, cropMode: "center" }],
    ["ConvNext's", { ...convnext, size: 224, crop_pct: 0.95 }, { size: 224, cropShare: 0.95, cropMode: "center" }],
    ["ConvNext's own", { ...convnext, size: { shortest_edge: 96 } }, { size: 96, cropShare: 0.875 }],
    [
      "ConvNext's when large",
      { ...convnext, size: 384, crop_pct: 0.95 },
      { size: 384, cropShare: 1, cropMode: "squash" },
    ],
    [
      "Levit's is of more than it says",
      { image_processor_type: "LevitImageProcessor" },
      { size: 224, cropShare: 0.875 },
    ],
  ])("%s", (_, fields, expected) => {
    expect(settingsOf(fields)).toMatchObject(expected);
  });

  test("is on white where the processor converts to red, green and blue, by itself or as told", () => {
    const behind = (fields: Record<string, unknown>) => settingsOf(fields).transparency;
    expect([behind(VIT), behind({ ...VIT, do_convert_rgb: true }), behind(clip)]).toEqual([
      undefined,
      "white",
      "white",
    ]);
    expect(behind({ ...clip, do_convert_rgb: false })).toBeUndefined();
  });
});

describe("a preprocessor", () => {
  const refusals: [Record<string, unknown>, string][] = [
    [{ ...VIT, resample: 6 }, "resample is 6: there is 0 (nearest), 1 (lanczos), 2 (bilinear)"],
    [{ ...VIT, resample: "cubic" }, 'resample is "cubic": there is'],
    [{ ...VIT, do_resize: false }, "do_resize is false: images are always resized here"],
    [{ ...VIT, do_pad: true }, "do_pad is true: this is not done here"],
    [{ ...VIT, pad_size: 32 }, "pad_size is 32: this is not done here"],
    [{ ...VIT, do_flip_channel_order: true }, "do_flip_channel_order is true: this is not done here"],
    [{ ...VIT, size_divisor: 32 }, "size_divisor is 32"],
    [{ ...VIT, crop_pct: 0.9 }, "crop_pct is 0.9: the processor of this type has no such key"],
    [{ ...VIT, rescale_offset: true }, "rescale_offset is true: the processor of this type has no such key"],
    [{ ...VIT, include_top: true }, "include_top is true"],
    [{ ...VIT, rescale_factor: 0 }, "rescale_factor is 0: expected a number above 0"],
    [{ ...VIT, rescale_factor: "1/255" }, 'rescale_factor is "1/255"'],
    [{ ...VIT, do_rescale: "yes" }, 'do_rescale is "yes": expected true or false'],
    [{ ...VIT, image_mean: [0.5] }, "image_mean is [0.5]: expected three numbers"],
    [{ ...VIT, image_std: [0.5, 0, 0.5] }, "image_std is [0.5,0,0.5]: expected three numbers above 0"],
    [{ ...VIT, size: { height: 32, width: 24 } }, 'size is {"height":32,"width":24}: images are made square here'],
    [{ ...VIT, size: [32, 24] }, "size is [32,24]: images are made square here"],
    [{ ...VIT, size: { shortest_edge: 32 } }, "the shorter side alone leaves rectangles"],
    [{ ...VIT, size: { shortest_edge: 32, longest_edge: 64 } }, "longest_edge beside shortest_edge is not done here"],
    [{ ...VIT, size: { longest_edge: 64 } }, "longest_edge is not done here"],
    [{ ...VIT, size: { max_height: 64, max_width: 64 } }, "max_height is not done here"],
    [{ ...VIT, size: 0 }, "size is 0: expected whole numbers of pixels"],
    [
      { ...VIT, do_center_crop: true, crop_size: 48 },
      "crop_size is 48: it is larger than what images are resized to, 32",
    ],
    [{ ...VIT, image_processor_type: "MobileViTImageProcessor" }, 'image_processor_type is "MobileViTImageProcessor"'],
    [{ feature_extractor_type: "DetrFeatureExtractor" }, "there is ViT, DeiT, Beit, CLIP, Bit, ConvNext"],
    [{ ...VIT, image_processor_type: "constructorImageProcessor" }, "there is ViT, DeiT"],
    [{ size: { height: 32, width: 32 }, crop_pct: 0.9 }, "a processor with crop_pct takes a number, or shortest_edge"],
    [{ size: 32, crop_pct: 0.9, do_center_crop: true, crop_size: 24 }, "crop_size is 24: crop_pct leaves 32"],
    [{ size: 32, crop_pct: 1.5 }, "crop_pct is 1.5: expected at most 1"],
  ];
  test.each(refusals.map(([fields, text]) => [text, fields] as const))("is refused: %s", (text, fields) => {
    expect(() => settingsOf(fields)).toThrow(text);
    expect(() => settingsOf(fields)).toThrow(/^preprocessor_config\.json: [^\n]*$/);
  });

  test("may say what changes no pixel, and what is not done", () => {
    const harmless = {
      ...{ processor_class: "X", _valid_processor_keys: ["images"], data_format: "channels_first", do_pad: false },
      ...{ do_reduce_labels: true, disable_grouping: null, crop_size: null, anything: null, return_tensors: "pt" },
    };
    expect(settingsOf({ ...VIT, ...harmless })).toEqual(settingsOf(VIT));
  });

  const folder = temporaryFolder();
  beforeAll(async () => {
    await openEngine({ engine: "wasm" });
    const model = smallVit(VIT_TRANSFORMERS);
    await saveModelNow(model as never, folder("vit"));
    model.dispose();
  });

  test("is refused with the place of its file when its model is loaded", async () => {
    const file = folder("vit", "preprocessor_config.json");
    writeFileSync(file, JSON.stringify({ ...VIT, do_pad: true }));
    await expect(loadModelNow(folder("vit"))).rejects.toThrow(`${file}: do_pad is true: this is not done here`);
  });

  test("that is said anew says all of it in plain words", async () => {
    const fields = { ...VIT, rescale_factor: 2 / 255, do_convert_rgb: true, resample: 1 };
    writeFileSync(folder("vit", "preprocessor_config.json"), JSON.stringify(fields));
    for (const cropMode of ["center", "squash"] as const) {
      const model = await loadModelNow(folder("vit"), { preparation: { cropMode, cropShare: 0.8 } });
      model.dispose();
      expect(imageSettings(model)).toMatchObject({
        ...{ cropMode, cropShare: 0.8, interpolation: "lanczos", transparency: "white" },
        ...{ mean: [0.25, 0.25, 0.25], std: [0.25, 0.25, 0.25] },
      });
    }
  });
});
