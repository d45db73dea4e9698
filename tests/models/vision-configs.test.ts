// What config.json of timm's and Hugging Face's says of vision models: sizes, how images are prepared, names of classes;
// and what is refused in it, by name.

import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { parametersOf } from "../../workbench/architectures/architecture.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  architectureOfConfig,
  createModel,
  gpt2,
  imageSettings,
  type Model,
  type ResnetConfig,
  saveModelNow,
  type VitConfig,
} from "../../workbench/models/index.ts";
import {
  RESNET,
  RESNET_TRANSFORMERS,
  smallMixer,
  smallResnet,
  smallVit,
  VIT,
  VIT_TRANSFORMERS,
} from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();

function read(json: Record<string, unknown>): unknown {
  return architectureOfConfig(json, "x/config.json").readConfig(json, "x/config.json");
}

const parameterCount = (json: Record<string, unknown>): number => {
  const architecture = architectureOfConfig(json);
  const infos = [...parametersOf(architecture, architecture.readConfig(json, "config")).values()];
  return infos
    .filter(({ buffer }) => !buffer)
    .reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);
};

describe("sizes", () => {
  // Parameters as timm's and torchvision's published tables give them.
  test.each([
    ["vit_tiny_patch16_224", 5717416],
    ["vit_small_patch16_224", 22050664],
    ["vit_base_patch16_224.augreg_in1k", 86567656],
    ["vit_base_patch32_224", 88224232],
    ["vit_large_patch16_224", 304326632],
    ["deit_tiny_patch16_224.fb_in1k", 5717416],
    ["deit3_small_patch16_224.fb_in1k", 22059496],
    ["resnet18.tv_in1k", 11689512],
    ["resnet34", 21797672],
    ["resnet50.a1_in1k", 25557032],
    ["resnet101.tv_in1k", 44549160],
    ["resnet152", 60192808],
    ["mixer_s16_224", 18528264],
    ["mixer_s32_224", 19104624],
    ["mixer_b16_224.goog_in21k_ft_in1k", 59880472],
  ])("%s has %d parameters", (architecture, count) => {
    expect(parameterCount({ architecture, num_classes: 1000 })).toBe(count);
  });

  test("Hugging Face's defaults are ViT-B/16", () => {
    const labels = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [i, `${i}`]));
    expect(parameterCount({ model_type: "vit", id2label: labels })).toBe(86567656);
  });

  test("a name tells patch and image, arguments overrule it, and what the file says of its input comes between", () => {
    const vit = read({ architecture: "vit_small_patch8_384", num_classes: 10 }) as VitConfig;
    expect([vit.patch, vit.image, vit.width, vit.classes]).toEqual([8, 384, 384, 10]);
    const input = {
      architecture: "vit_small_patch8_384",
      pretrained_cfg: { input_size: [3, 224, 224], num_classes: 5 },
    };
    expect(read(input)).toMatchObject({ image: 224, classes: 5 });
    expect(read({ ...input, model_args: { img_size: 32, patch_size: [4, 4] } })).toMatchObject({ image: 32, patch: 4 });
    expect(read({ architecture: "vit_tiny_patch16_224", global_pool: "avg" })).toMatchObject({
      pooling: "average",
      finalNorm: "fc_norm",
    });
  });

  test("a structured model's type is its base model's", () => {
    expect(architectureOfConfig({ model_type: "gblr_vit", architecture: "vit_tiny_patch16_224" }).type).toBe("vit");
    expect((read({ ...RESNET_TRANSFORMERS, model_type: "gblr_resnet" }) as ResnetConfig).naming).toBe("transformers");
  });
});

describe("refusals", () => {
  const refusals: [Record<string, unknown>, string][] = [
    [{ architecture: "convnext_tiny" }, 'x/config.json: architecture is "convnext_tiny", there is vit_*'],
    [{ architecture: "vit_base_patch16_clip_224" }, 'architecture is "vit_base_patch16_clip_224"'],
    [{ architecture: "resnet50d.a1_in1k" }, 'architecture is "resnet50d.a1_in1k", there is'],
    [{ architecture: "wide_resnet50_2.tv_in1k" }, 'architecture is "wide_resnet50_2.tv_in1k", there is'],
    [{ architecture: "seresnet50" }, "resnet50, resnet101, resnet152"],
    [{ architecture: "resnet50", model_args: { base_width: 128 } }, "model_args.base_width is 128, which is not"],
    [{ architecture: "resnet50", model_args: { stem_type: "deep" } }, 'model_args.stem_type is "deep"'],
    [{ ...VIT, model_args: { ...VIT.model_args, num_heads: 5 } }, "heads must divide the width 24, got 5"],
    [{ ...VIT, model_args: { qk_norm: true } }, "model_args.qk_norm is true, which is not computed here"],
    [{ ...VIT, model_args: { depth: 0 } }, "model_args.depth is 0"],
    [{ ...VIT, model_args: { img_size: [32, 16] } }, "img_size is 32 × 16: images and patches must be square"],
    [{ ...VIT, model_args: { class_token: false } }, "global_pool token needs a class token"],
    [{ ...VIT, num_classes: 0 }, "num_classes is 0"],
    [{ ...VIT, model_args: { patch_size: 64 } }, "a patch of 64 must fit into the image, of 16"],
    [{ ...RESNET, pretrained_cfg: { input_size: [3, 224, 192] } }, "images must be square"],
    [{ ...VIT_TRANSFORMERS, hidden_act: "swish" }, 'hidden_act is "swish"'],
    [{ ...RESNET_TRANSFORMERS, layer_type: "inverted" }, 'layer_type is "inverted"'],
    [{ ...RESNET_TRANSFORMERS, layer_type: "bottleneck", hidden_sizes: [3, 8] }, "hidden_sizes has 3"],
    [{ ...RESNET_TRANSFORMERS, downsample_in_first_stage: true }, "downsample_in_first_stage is true"],
    [{ ...RESNET_TRANSFORMERS, depths: [1] }, "there must be a depth for each width, got 1 and 2"],
  ];
  test.each(refusals.map(([json, text]) => [text, json] as const))("%s", (text, json) => {
    expect(() => read(json)).toThrow(text);
  });
});

describe("preparation of images", () => {
  beforeAll(async () => {
    await openEngine();
  });

  const settingsOf = (model: unknown) => {
    const settings = imageSettings(model as Model);
    (model as Model).dispose();
    return settings;
  };

  test("is timm's pretrained_cfg where there is one", () => {
    const mean = [0.1, 0.2, 0.3];
    const cfg = { input_size: [3, 16, 16], mean, std: [0.4, 0.5, 0.6], interpolation: "bilinear", crop_pct: 0.95 };
    expect(settingsOf(smallVit({ ...VIT, pretrained_cfg: cfg, label_names: ["a", "b", "c", "d", "e"] }))).toEqual({
      size: 16,
      mean: [0.1, 0.2, 0.3],
      std: [0.4, 0.5, 0.6],
      interpolation: "bilinear",
      cropShare: 0.95,
      cropMode: "center",
      classes: 5,
      labels: ["a", "b", "c", "d", "e"],
    });
  });

  test("is each family's own where nothing is said", () => {
    expect(settingsOf(smallVit())).toMatchObject({ mean: [0.5, 0.5, 0.5], interpolation: "bicubic", cropShare: 0.9 });
    expect(settingsOf(smallMixer())).toMatchObject({ size: 16, std: [0.5, 0.5, 0.5], cropShare: 0.875 });
    expect(settingsOf(smallResnet())).toMatchObject({ size: 24, mean: [0.485, 0.456, 0.406], cropShare: 0.875 });
  });

  test("is Hugging Face's preprocessor beside the model, which goes along when the model is saved", async () => {
    const vit = smallVit(VIT_TRANSFORMERS);
    await saveModelNow(vit, folder("vit"));
    const processor = {
      size: { height: 16, width: 16 },
      resample: 2,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [1, 1, 1],
    };
    writeFileSync(folder("vit", "preprocessor_config.json"), JSON.stringify(processor));
    const loaded = await loadModelNow(folder("vit"));
    await saveModelNow(loaded, folder("copy"), { base: { folder: folder("vit") } });
    loaded.dispose();
    expect(settingsOf(await loadModelNow(folder("copy")))).toEqual({
      size: 16,
      mean: [0.5, 0.5, 0.5],
      std: [1, 1, 1],
      interpolation: "bilinear",
      cropShare: 1,
      cropMode: "squash",
      cropRounding: "down",
      classes: 5,
      labels: ["a", "b", "c", "d", "e"],
    });
    vit.dispose();
  });

  test("of a network without positions is the size that its preprocessor says", async () => {
    const resnet = smallResnet(RESNET_TRANSFORMERS);
    await saveModelNow(resnet, folder("resnet"));
    const write = (fields: object) =>
      writeFileSync(folder("resnet", "preprocessor_config.json"), JSON.stringify(fields));
    write({ size: { shortest_edge: 160 }, crop_pct: 0.875, resample: 3 });
    expect(settingsOf(await loadModelNow(folder("resnet")))).toMatchObject({
      size: 160,
      cropShare: 0.875,
      interpolation: "bicubic",
    });
    write({ size: { shortest_edge: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 }, resample: 3 });
    expect(settingsOf(await loadModelNow(folder("resnet")))).toMatchObject({ size: 224, cropShare: 0.875 });
    resnet.dispose();
  });

  test("resizes the shorter side, both or the longer, as timm's crop_mode or the kind of preprocessor says", async () => {
    const border = { input_size: [3, 16, 16], crop_mode: "border" };
    expect(settingsOf(smallVit({ ...VIT, pretrained_cfg: border }))).toMatchObject({ cropMode: "border" });
    const vit = smallVit(VIT_TRANSFORMERS);
    await saveModelNow(vit, folder("modes"));
    vit.dispose();
    const both = { height: 256, width: 256 };
    for (const [fields, expected] of [
      [{ size: 16 }, { cropMode: "squash", cropShare: 1, interpolation: "bilinear" }],
      [
        { size: both, do_center_crop: true, crop_size: 224 },
        { cropMode: "squash", cropShare: 0.875 },
      ],
      [
        { size: { shortest_edge: 224 }, do_center_crop: true, crop_size: 224 },
        { cropMode: "center", cropShare: 1 },
      ],
      [
        { feature_extractor_type: "CLIPFeatureExtractor", size: 224 },
        { cropMode: "center", cropShare: 1 },
      ],
      [
        { image_processor_type: "ConvNextImageProcessor", size: 224 },
        { cropMode: "center", cropShare: 0.875, interpolation: "bicubic" },
      ],
      [
        { image_processor_type: "ConvNextImageProcessor", size: { shortest_edge: 384 }, crop_pct: 0.875 },
        { cropMode: "squash", cropShare: 1 },
      ],
    ] as const) {
      writeFileSync(folder("modes", "preprocessor_config.json"), JSON.stringify(fields));
      expect([fields, settingsOf(await loadModelNow(folder("modes")))]).toEqual([
        fields,
        expect.objectContaining(expected),
      ]);
    }
  });

  test("gives back the size that a preprocessor resizes to, whatever the rounding of the share", async () => {
    const vit = smallVit(VIT_TRANSFORMERS);
    await saveModelNow(vit, folder("sizes"));
    vit.dispose();
    for (const [kept, side] of [
      [384, 650],
      [224, 248],
      [49, 98],
      [384, 703],
    ] as const) {
      const fields = { size: { shortest_edge: side }, do_center_crop: true, crop_size: kept };
      writeFileSync(folder("sizes", "preprocessor_config.json"), JSON.stringify(fields));
      expect(Math.floor(kept / settingsOf(await loadModelNow(folder("sizes"))).cropShare)).toBe(side);
    }
  });

  test("is refused of a model that takes no images", () => {
    const model = createModel(gpt2, { n_layer: 1, n_embd: 8, n_head: 1, n_positions: 4, vocab_size: 9 });
    expect(() => imageSettings(model)).toThrow("a gpt2 model takes no images");
    model.dispose();
  });
});
