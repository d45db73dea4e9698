// Image classifiers as ONNX files give the workbench's logits in onnxruntime: every architecture and naming, every form
// of layers and kernels, any batch, and any size of images where the network takes any.

import { expect, test } from "bun:test";
import type { PlanOptions } from "../../../workbench/compress/index.ts";
import type { Model } from "../../../workbench/models/index.ts";
import {
  RESNET_BOTTLENECKS,
  RESNET_TRANSFORMERS_BOTTLENECKS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT,
  VIT_TRANSFORMERS,
} from "../../architectures/small-vision.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { PATIENCE } from "../../python/python.ts";
import { converted, expectSame, exported, fedImages, hasOnnx, logitsOfImages, runOnnx } from "./runtime.ts";

const folder = temporaryFolder();
const GBLR: PlanOptions = { structure: "gblr", budget: 0.6 };
const LOW_RANK: PlanOptions = { structure: "lowrank", budget: 0.5 };
const POOLED = { ...VIT.model_args, global_pool: "avg", class_token: false };
const DEIT_3 = { ...VIT, architecture: "deit3_small_patch4_16", model_args: { ...VIT.model_args, num_heads: 3 } };

interface Case {
  make: () => Model;
  plan?: PlanOptions;
  /** sides of images; a ResNet is run with two */
  sides: readonly number[];
}

const vit = (settings?: object, plan?: PlanOptions): Case => ({
  make: () => smallVit(settings) as Model,
  sides: [16],
  ...(plan && { plan }),
});
const resnet = (settings?: object, plan?: PlanOptions): Case => ({
  make: () => smallResnet(settings) as Model,
  sides: [24, 33],
  ...(plan && { plan }),
});
const mixer = (plan?: PlanOptions): Case => ({
  make: () => smallMixer() as Model,
  sides: [16],
  ...(plan && { plan }),
});

const CASES: Readonly<Record<string, Case>> = {
  "ViT, timm's names": vit(),
  "ViT, Hugging Face's names": vit(VIT_TRANSFORMERS),
  "ViT without a class token, averaged": vit({ ...VIT, model_args: POOLED }),
  "ViT averaged before its last normalization": vit({
    ...VIT,
    model_args: { ...VIT.model_args, global_pool: "avg", fc_norm: false },
  }),
  "ViT with a layer before the head": vit({ ...VIT, model_args: { ...VIT.model_args, representation_size: 7 } }),
  "DeiT III, with gains and a class token without position": vit(DEIT_3),
  "ViT, GBLR": vit(VIT, GBLR),
  "ViT, low rank": vit(VIT, LOW_RANK),
  "MLP-Mixer": mixer(),
  "MLP-Mixer, GBLR": mixer(GBLR),
  "MLP-Mixer, low rank": mixer(LOW_RANK),
  "ResNet of basic blocks": resnet(),
  "ResNet of bottlenecks": resnet(RESNET_BOTTLENECKS),
  "ResNet, Hugging Face's names": resnet(RESNET_TRANSFORMERS_BOTTLENECKS),
  "ResNet, GBLR": resnet(undefined, GBLR),
  "ResNet, GBLR of narrow blocks": resnet(undefined, { structure: "gblr", widths: "splr0.25" }),
  "ResNet, GBLR at each position of kernels": resnet(undefined, { ...GBLR, convolutions: "per-kernel" }),
  "ResNet, low rank": resnet(undefined, LOW_RANK),
  "ResNet of bottlenecks, low rank": resnet(RESNET_BOTTLENECKS, LOW_RANK),
  "ResNet, Tucker": resnet(undefined, { structure: "tucker", budget: 0.5 }),
};

forEachEngine("image classifiers as ONNX", (_, { label }) => {
  const fileOf = (name: string) => folder(`${label} ${name}`.replace(/\W+/g, "-").concat(".onnx"));

  test.skipIf(!hasOnnx)(
    "have the same logits for any batch",
    async () => {
      const requests = [];
      const expected: Float32Array[][] = [];
      for (const [name, { make, plan, sides }] of Object.entries(CASES)) {
        const source = make();
        if (plan) await converted(source, plan);
        await exported(source, fileOf(name));
        const batches = [someImages(1, sides[0] as number), someImages(3, sides.at(-1) as number)];
        const logits = batches.map((images) => logitsOfImages(source, images));
        const runs = batches.map(async (images) => ({ inputs: { pixel_values: await fedImages(images) } }));
        requests.push({ file: fileOf(name), runs: await Promise.all(runs) });
        expected.push(await Promise.all(logits));
        source.dispose();
      }
      const answers = await runOnnx(...requests);
      for (const [i, name] of Object.keys(CASES).entries()) {
        const { results, inputs, run, ...others } = answers[i] as (typeof answers)[number];
        const isResnet = name.startsWith("ResNet");
        expect({ name, inputs }).toEqual({
          name,
          inputs: { pixel_values: ["batch_size", 3, ...(isResnet ? ["height", "width"] : [16, 16])] },
        });
        expect(others).toMatchObject({ outputs: { logits: ["batch_size", 5] }, opset: { "": 17 }, domains: [""] });
        expectSame(results[0], [1, 5], expected[i]?.[0] as Float32Array);
        expectSame(results[1], [3, 5], expected[i]?.[1] as Float32Array);
        // Kernels and matrices of layers are computed at load.
        expect(run).not.toContain("ScatterElements");
      }
    },
    PATIENCE,
  );
});
