// Vision models saved and loaded: the checkpoint's own names and layouts where layers are dense, the same outputs however
// layers are held, in every form.

import { expect, test } from "bun:test";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import {
  type ConversionPlan,
  convert,
  exportDense,
  type PlanOptions,
  planConversion,
} from "../../workbench/compress/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { forInference, type Model, modelCounts, saveModelNow } from "../../workbench/models/index.ts";
import {
  logitsOf,
  MIXER,
  RESNET,
  RESNET_BOTTLENECKS,
  RESNET_TRANSFORMERS,
  RESNET_TRANSFORMERS_BOTTLENECKS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT,
  VIT_TRANSFORMERS,
} from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
const FILE = "model.safetensors";

const near = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const scale = Math.max(...Array.from(a, Math.abs));
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number)))) / scale;
};

async function logits(model: Model, size = 16): Promise<Float32Array> {
  const images = someImages(2, size);
  const values = await logitsOf(model, images);
  images.dispose();
  return values;
}

async function converted(model: Model, options: PlanOptions): Promise<ConversionPlan> {
  const plan = await planConversion(model, options);
  for await (const event of convert(model, plan)) if (event.kind === "converted") return plan;
  throw new Error("the conversion did not end");
}

const MODELS = {
  "ViT, timm's names": {
    make: () => smallVit(VIT),
    size: 16,
    names: ["blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "head.bias"],
  },
  "ViT, Hugging Face's names": {
    make: () => smallVit(VIT_TRANSFORMERS),
    size: 16,
    names: [
      "vit.encoder.layer.1.attention.attention.key.bias",
      "vit.embeddings.position_embeddings",
      "classifier.weight",
    ],
  },
  "ResNet, torchvision's names": {
    make: () => smallResnet(RESNET),
    size: 24,
    names: ["layer2.0.downsample.0.weight", "bn1.running_var", "fc.weight"],
  },
  "ResNet, Hugging Face's names": {
    make: () => smallResnet(RESNET_TRANSFORMERS),
    size: 24,
    names: ["resnet.encoder.stages.1.layers.0.shortcut.convolution.weight", "classifier.1.weight"],
  },
  "ResNet of bottlenecks, torchvision's names": {
    make: () => smallResnet(RESNET_BOTTLENECKS),
    size: 24,
    names: ["layer1.1.conv3.weight", "layer2.0.downsample.0.weight", "layer2.0.bn3.running_var"],
  },
  "ResNet of bottlenecks, Hugging Face's names": {
    make: () => smallResnet(RESNET_TRANSFORMERS_BOTTLENECKS),
    size: 24,
    names: ["resnet.encoder.stages.1.layers.0.layer.2.convolution.weight", "classifier.1.bias"],
  },
  "MLP-Mixer": { make: () => smallMixer(MIXER), size: 16, names: ["stem.proj.weight", "blocks.1.mlp_tokens.fc1.bias"] },
} as const;

const STRUCTURES: [string, PlanOptions][] = [
  ["gblr", { structure: "gblr", budget: 0.6 }],
  ["lowrank", { structure: "lowrank", budget: 0.6 }],
];

const KEYS: [string, PlanOptions] = ["gblr of keys", { structure: "gblr", budget: 0.5, layers: "0.attn.k_proj" }];

const CONVOLUTIONS: [string, PlanOptions][] = [
  ["gblr per kernel", { structure: "gblr", budget: 0.8, convolutions: "per-kernel" }],
  ["lowrank per kernel", { structure: "lowrank", budget: 0.8, convolutions: "per-kernel" }],
  [
    "lowrank per kernel, by singular values",
    { structure: "lowrank", budget: 0.8, convolutions: "per-kernel", allocation: "global" },
  ],
  ["tucker", { structure: "tucker", budget: 0.5 }],
  ["gblr with all convolutions", { structure: "gblr", budget: 0.6, layers: ["conv", "downsample"] }],
];

forEachEngine("vision model folders", (_, { label }) => {
  const at = (...names: string[]) =>
    folder(label.replace(/\W+/g, "-"), ...names.map((name) => name.replace(/\W+/g, "-")));

  for (const [name, { make, size, names }] of Object.entries(MODELS)) {
    test(`${name}: a dense model is a checkpoint of the same names, and comes back bit for bit`, async () => {
      const model = make() as Model;
      const expected = await logits(model, size);
      await saveModelNow(model, at(name, "dense"));
      const tensors = await readSafetensors(`${at(name, "dense")}/${FILE}`);
      expect([...tensors.keys()]).toEqual(expect.arrayContaining([...names]));
      expect([...tensors.keys()].filter((stored) => /[qkv]_proj/.test(stored))).toEqual([]);
      const back = await loadModelNow(at(name, "dense"));
      expect(await logits(back, size)).toEqual(expected);
      expect(back.json).toMatchObject(model.json as object);
      await saveModelNow(back, at(name, "again"));
      expect(await readSafetensors(`${at(name, "again")}/${FILE}`)).toEqual(tensors);
      for (const each of [model, back]) each.dispose();
    });

    const own = name.startsWith("ResNet") ? CONVOLUTIONS : name.startsWith("ViT") ? [KEYS] : [];
    for (const [what, options] of [...STRUCTURES, ...own]) {
      test(`${name}: ${what} gives the same in every form, and is dense again`, async () => {
        const model = make() as Model;
        await converted(model, options);
        expect([...model.layers.values()].some(({ structure }) => structure.name === options.structure)).toBe(true);
        const before = await logits(model, size);
        model.masks.mode = "eval";
        const expected = await logits(model, size);
        const counts = await modelCounts(model);
        await saveModelNow(model, at(name, what), { trainable: true });
        if (options.structure !== "gblr") expect(expected).toEqual(before);
        const trainable = await loadModelNow(at(name, what), { form: "trainable" });
        expect(await logits(trainable, size)).toEqual(before);
        const packed = await loadModelNow(at(name, what));
        expect(near(expected, await logits(packed, size))).toBeLessThan(1e-5);
        expect(await modelCounts(packed)).toEqual(counts);
        const view = await forInference(packed);
        expect(near(expected, await logits(view, size))).toBeLessThan(1e-5);
        view.dispose();
        expect(near(expected, await logits(packed, size))).toBeLessThan(1e-5);
        exportDense(packed);
        await saveModelNow(packed, at(name, what, "dense"));
        const dense = await loadModelNow(at(name, what, "dense"));
        expect(near(expected, await logits(dense, size))).toBeLessThan(1e-5);
        expect([...dense.parameters.keys()]).toEqual([...(make() as Model).parameters.keys()]);
        expect(dense.json).toMatchObject(model.json as object);
        expect(dense.json.gblr).toBeUndefined();
        for (const each of [model, trainable, packed, dense]) each.dispose();
      });
    }
  }
});
