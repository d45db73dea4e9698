// How images are prepared, said anew: what is asked for is what the model says, in memory and in the folder that it is saved
// to, and a folder that says it already is left as it is.

import { beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { imageSettings, type Model, type Preparation, saveModelNow } from "../../workbench/models/index.ts";
import { RESNET_TRANSFORMERS, smallResnet, smallVit, VIT, VIT_TRANSFORMERS } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
const PROCESSOR = {
  image_processor_type: "ViTImageProcessor",
  size: { height: 16, width: 16 },
  image_mean: [0.1, 0.2, 0.3],
};
const parsed = (...path: string[]) => JSON.parse(readFileSync(folder(...path), "utf8"));

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const models: Record<string, Model> = {
    timm: smallVit({ ...VIT, pretrained_cfg: { crop_pct: 0.95, mean: [0.1, 0.2, 0.3] } }) as unknown as Model,
    transformers: smallVit(VIT_TRANSFORMERS) as unknown as Model,
    resnet: smallResnet(RESNET_TRANSFORMERS) as unknown as Model,
  };
  for (const [name, model] of Object.entries(models)) {
    await saveModelNow(model, folder(name));
    model.dispose();
  }
  writeFileSync(folder("transformers", "preprocessor_config.json"), JSON.stringify(PROCESSOR));
  writeFileSync(folder("resnet", "preprocessor_config.json"), JSON.stringify({ crop_pct: 0.875, size: 24 }));
});

const ASKED: [string, Preparation][] = [
  ["timm", { cropMode: "border" }],
  ["timm", { cropShare: 1, cropMode: "squash", interpolation: "bilinear" }],
  ["transformers", { cropMode: "center", cropShare: 0.5 }],
  ["transformers", { cropShare: 0.64, interpolation: "bicubic" }],
  ["transformers", { interpolation: "nearest" }],
  ["resnet", { cropShare: 1 }],
  ["resnet", { cropMode: "squash", cropShare: 0.75, interpolation: "bilinear" }],
];

test.each(ASKED)("%s: %p is what the model says, and its folder after it", async (name, preparation) => {
  const before = await loadModelNow(folder(name));
  const expected = { ...imageSettings(before), ...preparation };
  before.dispose();
  const model = await loadModelNow(folder(name), { preparation });
  expect(imageSettings(model)).toEqual(expected);
  await saveModelNow(model, folder("saved"), { base: { folder: folder(name) } });
  model.dispose();
  const again = await loadModelNow(folder("saved"));
  expect(imageSettings(again)).toEqual(expected);
  again.dispose();
});

test("processors are those of transformers' that do just that", async () => {
  const processor = async (preparation: Preparation) => {
    const model = await loadModelNow(folder("transformers"), { preparation });
    model.dispose();
    return model.preprocessor;
  };
  const others = { do_normalize: true, image_mean: [0.1, 0.2, 0.3], image_std: [0.5, 0.5, 0.5], resample: 2 };
  expect(await processor({ cropMode: "center", cropShare: 0.5 })).toMatchObject({
    ...others,
    image_processor_type: "CLIPImageProcessor",
    size: { shortest_edge: 32 },
    do_center_crop: true,
    crop_size: { height: 16, width: 16 },
  });
  expect(await processor({ cropShare: 0.8 })).toMatchObject({
    ...others,
    image_processor_type: "DeiTImageProcessor",
    size: { height: 20, width: 20 },
    do_center_crop: true,
  });
  const whole = await processor({ interpolation: "bicubic" });
  expect(whole).toMatchObject({ image_processor_type: "ViTImageProcessor", size: PROCESSOR.size, resample: 3 });
  expect(whole).not.toHaveProperty("do_center_crop");
});

test("a folder that says it already is as it was, and a border is timm's only", async () => {
  const same = await loadModelNow(folder("transformers"), { preparation: { cropMode: "squash", cropShare: 1 } });
  expect(same.preprocessor).toEqual(PROCESSOR);
  same.dispose();
  const timm = await loadModelNow(folder("timm"), { preparation: { cropShare: 0.95, interpolation: undefined } });
  expect(timm.json).toEqual(parsed("timm", "config.json"));
  timm.dispose();
  await expect(loadModelNow(folder("transformers"), { preparation: { cropMode: "border" } })).rejects.toThrow(
    "Hugging Face has no image processor that adds a border",
  );
});
