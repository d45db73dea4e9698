// A vision transformer for images of another size: its positions against PyTorch's interpolation, the rest as it was.

import { beforeAll, expect, test } from "bun:test";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import {
  classifierLogits,
  imageSettings,
  type Model,
  resizePositions,
  saveModelNow,
} from "../../../workbench/models/index.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, pythonWith } from "../../python/python.ts";
import { logitsOf, smallResnet, smallVit, someImages, VIT, VIT_TRANSFORMERS } from "../small-vision.ts";
import { expectNear, hasTorch } from "../vision.ts";

const folder = temporaryFolder();

beforeAll(async () => {
  await openEngine();
});

async function interpolated(asked: { grid: number; to: number; width: number; values: number[] }): Promise<number[]> {
  return askPython(pythonWith("torch"), path.join(import.meta.dir, "resize.py"), { input: JSON.stringify(asked) });
}

for (const image of [8, 12, 20, 24, 44]) {
  test.skipIf(!hasTorch)(`from 16 to ${image} pixels positions are PyTorch's, antialiased bicubic`, async () => {
    const model = smallVit();
    const before = [...(await model.parameter("pos_embed").data())];
    const resized = await resizePositions(model, image);
    const after = [...(await resized.parameter("pos_embed").data())];
    const width = 24;
    const to = image / 4;
    expect(resized.parameter("pos_embed").shape).toEqual([1, to ** 2 + 1, width]);
    expect(after.slice(0, width)).toEqual(before.slice(0, width));
    expectNear(after.slice(width), await interpolated({ grid: 4, to, width, values: before.slice(width) }), 1e-6);
    expect(await logitsOf(resized as Model, someImages(2, image))).toHaveLength(10);
    resized.dispose();
  });
}

test("a resized model says so in its config and comes back from disk for the new size", async () => {
  for (const [name, settings] of Object.entries({ timm: VIT, transformers: VIT_TRANSFORMERS })) {
    const model = (await resizePositions(smallVit(settings), 24)) as Model;
    const images = someImages(2, 24);
    const expected = await logitsOf(model, images);
    await saveModelNow(model, folder(name));
    const back = await loadModelNow(folder(name));
    expect(await logitsOf(back, images)).toEqual(expected);
    expect(imageSettings(back).size).toBe(24);
    expect(() => tf.tidy(() => classifierLogits(back, someImages(1, 16)))).toThrow(
      "vit: images must be 24 × 24, as the model's, got 16 × 16",
    );
    for (const each of [model, back]) each.dispose();
  }
});

test("the same size is the same model, and what has no positions or no patch is refused", async () => {
  const model = smallVit();
  expect(await resizePositions(model, 16)).toBe(model);
  await expect(resizePositions(model, 3)).rejects.toThrow("at least one patch of 4 wide, got 3");
  await expect(resizePositions(smallResnet(), 32)).rejects.toThrow("a resnet model has no positions");
  model.dispose();
});
