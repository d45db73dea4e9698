// Vision transformers and residual networks out of checkpoints as the authors' trainer leaves them: logits and costs are
// those of an independent forward pass in PyTorch, packed and to train, and the folder is one like any other.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { writeSafetensors } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { referenceTensors } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { imageSettings, type Model } from "../../../workbench/models/index.ts";
import { importReference, pullZoo } from "../../../workbench/models/reference/index.ts";
import { logitsOf } from "../../architectures/small-vision.ts";
import { expectNear, hasTorch, imagesOf } from "../../architectures/vision.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { PATIENCE } from "../../python/python.ts";
import { askGaudi, type GaudiAnswer, type GaudiVision, RESNET, VIT } from "./gaudi.ts";

const at = temporaryFolder();

const CASES: Record<string, GaudiVision> = {
  "a ViT with smooth masks": VIT,
  "a ViT without a Gaussian, a block of it dense": {
    ...VIT,
    gaussian: false,
    dense: [1],
    hyper: { model: { mlp_cfg: { linear1_cfg: { no_gaussian: true } }, num_heads: 3 } },
  },
  "a ViT that has blocks of rank 2 and a packed matrix where it is dense": {
    ...VIT,
    rank: 2,
    dense: [0],
    packed: true,
  },
  "a ResNet with a matrix for each position of a kernel": RESNET,
  "a ResNet with one matrix over all positions": {
    ...RESNET,
    convolutions: "all",
    hyper: { model: { per_kernel: false, gaudi_params: { no_gaussian: true } } },
  },
  "a ResNet with smooth masks over all positions, its hyper-parameters silent": {
    ...RESNET,
    convolutions: "all",
    gaussian: true,
    hyper: { model: { gaudi_params: { width_init: "splr" } } },
  },
};

const { hyper: _, ...BARE_VIT } = VIT;
const { hyper: _1, ...BARE_RESNET } = RESNET;

/** Checkpoints of which only the folder is looked at. */
const OTHERS: Record<string, GaudiVision> = {
  cifar: { ...VIT, hyper: { datamodule: { _target_: "src.datamodules.cifar.CIFAR100" } } },
  "bare vit": BARE_VIT,
  "bare resnet": BARE_RESNET,
};

const fileOf = (name: string) => at(`${name.replaceAll(/\W+/g, "-")}.ckpt`);

let answers: Record<string, GaudiAnswer> = {};

beforeAll(async () => {
  if (!hasTorch) return;
  const all = Object.entries({ ...CASES, ...OTHERS }).map(([name, setup]) => [fileOf(name), setup] as const);
  answers = await askGaudi(Object.fromEntries(all));
}, PATIENCE);

async function converted(file: string, out: string, options: { heads?: number; gaussian?: boolean } = {}) {
  for await (const event of importReference(file, { out, ...options })) if (event.kind === "converted") return event;
  throw new Error("was not converted");
}

const structured = (model: Model) => [...model.layers.values()].filter(({ structure }) => structure.name !== "dense");

async function costsOf(model: Model): Promise<number[]> {
  const costs: number[] = [];
  for (const { name, structure } of structured(model))
    costs.push(await structure.cost(model.structureParameters(name)));
  return costs;
}

forEachEngine("a reference checkpoint of a vision model", (_, { label }) => {
  for (const [name, setup] of Object.entries(CASES)) {
    test.skipIf(!hasTorch)(`${name} has PyTorch's logits and costs, packed and to train`, async () => {
      const expected = answers[fileOf(name)] as GaudiAnswer;
      const out = at(label.replaceAll(/\W/g, "-"), path.basename(fileOf(name), ".ckpt"));
      await converted(fileOf(name), out, setup.model === "vit" ? { heads: 3 } : {});
      for (const form of ["packed", "trainable"] as const) {
        const model = await loadModelNow(out, { form });
        model.masks.mode = "eval";
        expect(model.masks.sigma).toBe(setup.gaussian ? 3 : undefined);
        expect(structured(model).every(({ structure }) => structure.name === (form === "packed" ? form : "gblr"))).toBe(
          true,
        );
        const images = imagesOf({ images: expected.images } as Parameters<typeof imagesOf>[0], setup.image);
        expectNear(await logitsOf(model, images), expected.logits, 1e-4);
        // Packed, a block of rank r is r blocks, a smooth mask is as long as its span, and negative widths count.
        if (form === "trainable") expect(await costsOf(model)).toEqual(expected.costs);
        tf.dispose(images);
        model.dispose();
      }
    });
  }
});

describe.skipIf(!hasTorch)("the folder of a converted vision model", () => {
  beforeAll(() => openEngine({ engine: "wasm" }));

  test("says what a ViT is and how its images are prepared, in timm's way", async () => {
    const name = "a ViT with smooth masks";
    const { config } = await converted(fileOf(name), at("vit"), { heads: 3 });
    expect(config).toMatchObject({
      architecture: "vit_base_patch4_16",
      num_classes: 5,
      model_args: { embed_dim: 24, depth: 2, num_heads: 3, qkv_bias: true },
      gblr: { sigma: 3 },
    });
    const model = await loadModelNow(at("vit"));
    expect(model.config).toMatchObject({ image: 16, patch: 4, innerWidth: 40, epsilon: 1e-6, naming: "timm" });
    expect(imageSettings(model)).toMatchObject({
      size: 16,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
      interpolation: "bicubic",
      cropShare: 0.9,
      classes: 5,
    });
    model.dispose();
    const stored = JSON.parse(readFileSync(at("vit", "config.json"), "utf8"));
    expect(Object.keys(stored.gblr.layers)).toContain("blocks.1.attn.v_proj");
    expect(Object.keys(stored.gblr.layers)).toHaveLength(10);
  });

  test("says what a ResNet is, and keeps running statistics and masks for training", async () => {
    const name = "a ResNet with a matrix for each position of a kernel";
    const { config } = await converted(fileOf(name), at("resnet"));
    expect(config).toMatchObject({
      architecture: "resnet18",
      num_classes: 5,
      model_args: { layers: [1, 2], channels: [8, 12] },
      pretrained_cfg: { input_size: [3, 24, 24], interpolation: "bilinear", crop_pct: 0.875 },
    });
    const stored = JSON.parse(readFileSync(at("resnet", "config.json"), "utf8"));
    expect(stored.gblr).not.toHaveProperty("sigma");
    expect(stored.gblr.layers["layer1.0.conv1.8"]).toMatchObject({ n_in: 64, n_out: 8, blocks: 8 });
    const trainable = await readSafetensors(at("resnet", "trainable.safetensors"));
    expect(trainable.get("layer2.1.conv2.4.lr_weight2")?.shape).toEqual([12, 12, 1]);
    const packed = await readSafetensors(at("resnet", "model.safetensors"));
    expect(packed.get("layer2.0.downsample.1.running_var")?.shape).toEqual([12]);
    expect(packed.has("layer2.0.downsample.0.weight")).toBe(true);
  });

  test(
    "written under the reference's names again is what its modules load, and gives the same logits",
    async () => {
      const again: Record<string, GaudiVision> = {};
      for (const [name, setup] of Object.entries(CASES)) {
        if (setup.rank !== undefined || setup.packed) continue;
        const folder = path.basename(fileOf(name), ".ckpt");
        await converted(fileOf(name), at("again", folder), setup.model === "vit" ? { heads: 3 } : {});
        for (const form of ["packed", "trainable"] as const) {
          const model = await loadModelNow(at("again", folder), { form });
          const load = at("again", `${folder}-${form}.safetensors`);
          await writeSafetensors(load, await referenceTensors(model));
          again[at("again", `${folder}-${form}.ckpt`)] = { ...setup, load };
          model.dispose();
        }
      }
      const found = await askGaudi(again);
      expect(Object.keys(found)).toHaveLength(10);
      for (const [file, { logits }] of Object.entries(found)) {
        const before = answers[at(path.basename(file).replace(/-(packed|trainable)(?=\.ckpt$)/, ""))] as GaudiAnswer;
        expectNear(logits, before.logits, 1e-4);
      }
    },
    PATIENCE,
  );

  test("takes CIFAR's statistics where the checkpoint was trained on it", async () => {
    await converted(fileOf("cifar"), at("cifar"), { heads: 3 });
    const model = await loadModelNow(at("cifar"));
    const { mean, cropShare } = imageSettings(model);
    expect(mean[0]).toBeCloseTo(129.3 / 255);
    expect(cropShare).toBe(1);
    model.dispose();
  });

  test("has smooth masks by what the published model has, where there are no hyper-parameters", async () => {
    const folder = (name: string) => at("bare", name);
    const smooth = await converted(fileOf("bare vit"), folder("vit"), { heads: 3 });
    expect(smooth.config.gblr).toHaveProperty("sigma", 3);
    for (const [out, checkpoint, options] of [
      ["resnet", "bare resnet", {}],
      ["sharp", "bare vit", { heads: 3, gaussian: false }],
    ] as const) {
      const { config } = await converted(fileOf(checkpoint), folder(out), options);
      expect(config.gblr).not.toHaveProperty("sigma");
    }
  });
});

describe.skipIf(!hasTorch)("the zoo's vision models", () => {
  const FILES: Record<string, string> = {
    "/imagenet-vit-b-gaudi.ckpt": "a ViT with smooth masks",
    "/imagenet-resnet18-gaudi.ckpt": "a ResNet with a matrix for each position of a kernel",
  };
  let server: Server;
  beforeAll(async () => {
    await openEngine({ engine: "wasm" });
    server = createServer(({ url = "" }, response) => response.end(readFileSync(fileOf(FILES[url] as string))));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => void server.close());

  test("are model folders after one fetch, and ask no Hub for a tokenizer", async () => {
    const access = { endpoint: "http://127.0.0.1:1", cache: at("zoo", "hub") };
    const release = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const [name, base] of [
      ["vit-b-gaudi", undefined],
      ["resnet18-gaudi", "timm/resnet18.tv_in1k"],
    ]) {
      const kinds: string[] = [];
      for await (const { kind } of pullZoo(`zoo:${name}`, access, { release, heads: 3 })) kinds.push(kind);
      expect(kinds).toContain("converted");
      expect(kinds).not.toContain("note");
      for await (const event of pullZoo(`zoo:${name}`, { ...access, offline: true })) {
        expect(event).toEqual({
          kind: "located",
          folder: at("zoo", "gblr-zoo", "models", name as string),
          name: `zoo:${name}`,
        });
      }
      const config = JSON.parse(readFileSync(at("zoo", "gblr-zoo", "models", name as string, "config.json"), "utf8"));
      expect(config.gblr.base_model).toBe(base);
    }
  });
});
