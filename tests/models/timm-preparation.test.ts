// How timm's config.json says that images are prepared, in today's form and as the older single dictionary: fields, names of
// classes, defaults as timm has them, and what is refused.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  architectureOfConfig,
  imageSettings,
  type Model,
  type Preparation,
  saveModelNow,
} from "../../workbench/models/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";

type Json = Record<string, unknown>;

const settingsOf = (json: Json) => {
  const architecture = architectureOfConfig(json);
  return imageSettings({ architecture, config: architecture.readConfig(json, "config.json"), json, preprocessor: {} });
};

const HALF = [0.5, 0.5, 0.5] as const;
const breeds = Array.from({ length: 37 }, (_, i) => `breed ${i}`);
const SINGLE = {
  architecture: "resnet18",
  num_classes: 37,
  input_size: [3, 224, 224],
  interpolation: "bicubic",
  crop_pct: 0.95,
  mean: HALF,
  std: HALF,
  labels: breeds,
};
const READ = { size: 224, interpolation: "bicubic", cropShare: 0.95, cropMode: "center", mean: HALF, std: HALF };

describe("timm's preparation", () => {
  test("is the same at the top level, where there is no pretrained_cfg, and in one", () => {
    const { architecture, num_classes, labels, ...cfg } = SINGLE;
    const variants: Json[] = [
      SINGLE,
      { architecture, pretrained_cfg: { ...cfg, num_classes, label_names: labels } },
      { architecture, num_classes, label_names: labels, pretrained_cfg: cfg },
      { architecture, num_classes, labels, pretrained_cfg: { ...cfg, num_classes: 1000 } },
      { architecture, num_classes, pretrained_cfg: { ...cfg, labels } },
      { ...SINGLE, labels: undefined, label_names: Object.fromEntries(breeds.map((name, i) => [i, name])) },
      { ...SINGLE, mean: 0.5, std: [0.5] },
    ];
    for (const [i, json] of variants.entries())
      expect({ i, ...settingsOf(JSON.parse(JSON.stringify(json))) }).toEqual({
        i,
        ...{ ...READ, classes: 37, labels: breeds },
      } as never);
  });

  test("is at the top level of any size and any way to crop", () => {
    const json = { ...SINGLE, input_size: [3, 96, 96], crop_mode: "border", interpolation: "lanczos" };
    expect(settingsOf(json)).toMatchObject({ size: 96, cropMode: "border", interpolation: "lanczos" });
  });

  test("is of pretrained_cfg alone where there is one", () => {
    const json = { ...SINGLE, pretrained_cfg: { mean: [0.1, 0.2, 0.3], crop_pct: 0.9 } };
    expect(settingsOf(json)).toMatchObject({ mean: [0.1, 0.2, 0.3], std: [0.229, 0.224, 0.225], cropShare: 0.9 });
  });

  test("takes timm's own values for what is left out beside others", () => {
    const json = { architecture: "vit_tiny_patch16_224", crop_pct: 0.9 };
    expect(settingsOf(json)).toMatchObject({
      ...{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
      ...{ interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
    });
  });

  test.each([
    ['interpolation is "random"', { interpolation: "random" }],
    ['crop_mode is "corner"', { crop_mode: "corner" }],
    ["crop_pct is 1.5", { crop_pct: 1.5 }],
    ["mean is [0.5,0.5]: expected three numbers", { mean: [0.5, 0.5] }],
    ["std.1 is 0", { std: [0.5, 0, 0.5] }],
    ["input_size is 3 × 224 × 192: images must be square", { input_size: [3, 224, 192] }],
  ])("is refused by name at both places: %s", (text, fields) => {
    for (const json of [
      { ...SINGLE, ...fields },
      { architecture: "resnet18", pretrained_cfg: fields },
    ]) {
      const where = "pretrained_cfg" in json ? "pretrained_cfg." : "";
      expect(() => settingsOf(json)).toThrow(`config.json: ${where}${text}`);
    }
  });
});

describe("a folder with timm's single dictionary", () => {
  const folder = temporaryFolder();
  const single = { ...VIT, crop_pct: 0.95, mean: HALF, std: HALF, interpolation: "bicubic", labels: [..."abcde"] };
  const load = async (name: string, options: { preparation?: Preparation; classes?: string[] } = {}) => {
    const { classes, preparation } = options;
    return loadModelNow(folder(name), { ...(preparation && { preparation }), ...(classes && { head: { classes } }) });
  };
  const closed = (model: Model) => {
    model.dispose();
    return imageSettings(model);
  };
  beforeAll(async () => {
    await openEngine({ engine: "wasm" });
    const model = smallVit(single) as Model;
    await saveModelNow(model, folder("single"));
    model.dispose();
  });

  test("stays one, with what is said anew or classes of a new head", async () => {
    const before = closed(await load("single"));
    expect(before).toMatchObject({ cropShare: 0.95, labels: [..."abcde"] });
    const other = await load("single", { preparation: { interpolation: "hamming", cropMode: "squash" } });
    await saveModelNow(other, folder("other"));
    expect(closed(other)).toEqual({ ...before, interpolation: "hamming", cropMode: "squash" });
    expect(closed(await load("other"))).toEqual({ ...before, interpolation: "hamming", cropMode: "squash" });
    expect(JSON.parse(readFileSync(folder("other", "config.json"), "utf8"))).not.toHaveProperty("pretrained_cfg");
    const three = await load("single", { classes: ["x", "y", "z"] });
    await saveModelNow(three, folder("three"));
    expect(closed(three)).toEqual({ ...before, classes: 3, labels: ["x", "y", "z"] });
    expect(closed(await load("three"))).toEqual({ ...before, classes: 3, labels: ["x", "y", "z"] });
  });
});
