// Folders of image models that we write, read by PyTorch: logits must be ours, in every naming, structure and form, with
// torch alone and under transformers; images are prepared alike. Folders that contradict themselves are refused.

import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import sharp from "sharp";
import type { StoredTensor } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { encodeSafetensors, sourcesOf } from "../../hub/safetensors/write.ts";
import type { CropMode, Interpolation } from "../../workbench/architectures/parts/image-terms.ts";
import { evaluationView } from "../../workbench/data/images/crop.ts";
import { decodeImage } from "../../workbench/data/images/decode.ts";
import { borderOf } from "../../workbench/data/images/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { imageSettings } from "../../workbench/models/images/image-settings.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "./python.ts";
import { imagesBySize, type VisionFolder, visionFolders } from "./small-vision-folders.ts";

const torch = pythonWith("torch");
const pillow = pythonWith("torch", "PIL");
const transformers = pythonWith("torch", "transformers");
const at = temporaryFolder();

interface Answer {
  shape: number[];
  logits: number[];
  trains: string[];
  learns?: boolean;
  error?: string;
  class?: string;
  keys?: string[];
  loss?: [number, number];
  labels?: number;
  /** the logits of what transformers saved, read with torch alone */
  again?: number[];
  type?: string;
}

interface Case {
  folder: string;
  size: number;
  form?: string;
  mode?: string;
}

let folders: VisionFolder[] = [];
let images: Record<string, number[]> = {};

// Which engine made a folder is nothing that Python could see: one is enough.
beforeAll(async () => {
  if (!torch) return;
  await openEngine(ENGINES[0]?.options);
  images = imagesBySize();
  folders = await visionFolders(at);
}, PATIENCE);

/** All of them in one process: starting PyTorch takes longer than any of these models. */
const ask = (python: string | undefined, cases: Case[], env: Record<string, string> = {}): Promise<Answer[]> =>
  askPython(python, "vision_logits.py", { args: [SOURCES], env, input: JSON.stringify({ images, cases }) });

function expectLogits({ logits, shape, error }: Answer, { name, logits: truth }: VisionFolder): void {
  expect({ name, error, shape }).toEqual({ name, error: undefined, shape: [2, 5] });
  const deviation = truth.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (logits[i] as number))), 0);
  expect({ name, isNear: deviation < 1e-5 }).toEqual({ name, isNear: true });
  expect(Math.max(...truth.map(Math.abs))).toBeGreaterThan(0.3);
}

const isStructured = ({ name }: VisionFolder): boolean => !name.endsWith(": dense");

describe("a folder of an image model", () => {
  test.skipIf(!torch)(
    "gives our logits in PyTorch, dense, packed both ways, and trainable",
    async () => {
      const asked = folders.flatMap((each) => [
        { each, form: "packed", mode: "dense" },
        ...(isStructured(each) ? [{ each, form: "auto", mode: "packed" }] : []),
        ...(each.trainable ? [{ each, form: "trainable", mode: "dense" }] : []),
      ]);
      const cases = asked.map(({ each: { folder, size }, form, mode }) => ({ folder, size, form, mode }));
      for (const [i, answer] of (await ask(torch, cases)).entries()) {
        const { each, form } = asked[i] as (typeof asked)[number];
        expectLogits(answer, each);
        expect(answer.trains.includes("widths")).toBe(form === "trainable");
        expect(answer.learns).toBe(form === "trainable" ? true : undefined);
      }
      expect(folders.filter(({ trainable }) => trainable).length).toBeGreaterThan(14);
    },
    PATIENCE,
  );

  test.skipIf(!transformers)(
    "gives our logits and a loss under transformers, no parameter left over or missing, also when saved again",
    async () => {
      const structured = folders.filter(isStructured);
      const cases = structured.map(({ folder, size }) => ({ folder, size, form: "transformers" }));
      const answers = await ask(transformers, cases, { HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface") });
      for (const [i, answer] of answers.entries()) {
        const each = structured[i] as VisionFolder;
        expectLogits(answer, each);
        expectLogits({ ...answer, logits: answer.again as number[] }, each);
        const [loss, wanted] = answer.loss as [number, number];
        expect(loss).toBeCloseTo(wanted, 5);
        expect(answer.keys).toEqual([]);
        expect(answer.labels).toBe(5);
        const family = /^(de|v)it/.test(each.name) ? "ViT" : each.name.startsWith("resnet") ? "ResNet" : "Mixer";
        const naming = each.name.includes("hugging face") ? "" : "Timm";
        expect(answer.class).toBe(`Gblr${naming}${family}ForImageClassification`);
        // transformers has classes for its own models alone, whose type stays.
        expect(answer.type).toBe(`${naming ? "gblr_" : ""}${family.toLowerCase()}`);
      }
    },
    PATIENCE,
  );
});

describe("a folder of an image model that contradicts itself", () => {
  const copied = (name: string, of: string): string => {
    const source = folders.find((each) => each.name === of) as VisionFolder;
    const folder = at(`damaged-${name}`);
    cpSync(source.folder, folder, { recursive: true });
    return folder;
  };

  async function withTensors(
    name: string,
    of: string,
    change: (tensors: Map<string, StoredTensor>) => void,
  ): Promise<Case> {
    const folder = copied(name, of);
    const tensors = await readSafetensors(`${folder}/model.safetensors`);
    change(tensors);
    writeFileSync(`${folder}/model.safetensors`, await encodeSafetensors(sourcesOf(tensors)));
    return { folder, size: of.startsWith("resnet") ? 24 : 16 };
  }

  function withText(name: string, of: string, [before, after]: [RegExp | string, string]): Case {
    const folder = copied(name, of);
    const file = `${folder}/config.json`;
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(before);
    writeFileSync(file, text.replace(before, after));
    return { folder, size: of.startsWith("resnet") ? 24 : 16 };
  }

  const without = (tensor: string) => (tensors: Map<string, StoredTensor>) => {
    expect(tensors.delete(tensor)).toBe(true);
  };
  const ofShape = (tensor: string, shape: number[]) => (tensors: Map<string, StoredTensor>) => {
    expect(tensors.has(tensor)).toBe(true);
    const size = shape.reduce((product, side) => product * side, 1);
    tensors.set(tensor, { dtype: "F32", shape, data: new Float32Array(size) });
  };

  test.skipIf(!torch)(
    "is refused in one line that names what is wrong",
    async () => {
      const cases: [Case, RegExp][] = [
        [
          await withTensors("head", "vit, timm: gblr", without("head.bias")),
          /: tensor "head\.bias": is missing from the files$/,
        ],
        [
          await withTensors("dense-layer", "vit, timm: gblr", without("blocks.0.attn.proj.weight")),
          /: tensor "blocks\.0\.attn\.proj\.weight": is missing from the files$/,
        ],
        [
          await withTensors("half", "vit, hugging face: lowrank", without("vit.encoder.layer.1.output.dense.left")),
          /: tensor "vit\.encoder\.layer\.1\.output\.dense\.left": is missing; a layer of structure lowrank has one$/,
        ],
        [
          await withTensors("core", "resnet, timm: tucker", without("layer2.0.conv1.core")),
          /: tensor "layer2\.0\.conv1\.core": is missing; a layer of structure tucker has one$/,
        ],
        [
          await withTensors("too-much", "mixer: gblr", (tensors) => {
            tensors.set("more.weight", tensors.get("head.weight") as StoredTensor);
          }),
          /model\.safetensors: tensor "more\.weight": the model in config\.json has no such parameter$/,
        ],
        [
          await withTensors("wide", "mixer: dense", ofShape("blocks.0.mlp_tokens.fc1.weight", [12, 15])),
          /tensor "blocks\.0\.mlp_tokens\.fc1\.weight": must be of shape \(12, 16\), is \(12, 15\)$/,
        ],
        [
          await withTensors("long", "resnet, timm: lowrank", ofShape("layer1.0.conv1.left", [9, 2])),
          /tensor "layer1\.0\.conv1\.left": must be F32 of shape \(8, r\), is F32 \(9, 2\)$/,
        ],
        [
          await withTensors("ranks", "resnet, hugging face: tucker", (tensors) => {
            const name = "resnet.encoder.stages.1.layers.0.layer.0.convolution.output";
            ofShape(name, [7, 12])(tensors);
          }),
          /tensor "resnet\.\S+\.0\.convolution\.output": must be F32 of shape \(\d+, 12\), is F32 \(7, 12\)$/,
        ],
        [
          withText("structure", "vit, timm: lowrank", ['"structure": "lowrank"', '"structure": "toeplitz"']),
          /: config\.json: "gblr\.structure" must be one of gblr, lowrank, .*block-sparse, .*tucker, is 'toeplitz'$/,
        ],
        [
          withText("tucker", "mixer: lowrank", ['"structure": "lowrank"', '"structure": "tucker"']),
          /: layer "blocks\.\S+\.fc\d": config\.json lists it as tucker, but its tensors are left, right$/,
        ],
        [
          withText("unknown-layer", "vit, hugging face: gblr", [
            "vit.encoder.layer.0.output",
            "vit.encoder.layer.9.output",
          ]),
          /: layer "vit\.encoder\.layer\.0\.output\.dense": has spans, .* but config\.json does not list it/,
        ],
        [
          withText("size", "vit, timm: gblr", ['"n_out": 96', '"n_out": 97']),
          /: tensor "blocks\.0\.mlp\.fc1\.bias": must be float of shape \(97\), is F32 \(96\)$/,
        ],
        [
          withText("argument", "vit, timm: dense", ['"model_args": {', '"model_args": { "qk_norm": true,']),
          /: config\.json: model_args\.qk_norm is True, which is not supported$/,
        ],
        [
          withText("block", "resnet, hugging face: dense", ['"basic"', '"inverted"']),
          /: config\.json: layer_type is 'inverted'; available: 'basic', 'bottleneck'$/,
        ],
        [
          withText("wide-resnet", "resnet of bottlenecks, timm: dense", ['"resnet50"', '"wide_resnet50_2"']),
          /: config\.json: unknown architecture "wide_resnet50_2"; available: mixer, resnet, vit$/,
        ],
        [
          withText("architecture", "mixer: dense", ["mixer_s4_16", "resmlp_12_224"]),
          /: config\.json: unknown architecture "resmlp_12_224"; available: mixer, resnet, vit$/,
        ],
        [
          withText("heads", "vit, hugging face: dense", ['"num_attention_heads": 3', '"num_attention_heads": 5']),
          /: config\.json: heads must divide the width 24, got 5$/,
        ],
        [
          { ...withText("image", "vit, timm: gblr", ["gblr", "gblr"]), size: 24 },
          /^pixel_values must be of shape \(batch, 3, 16, 16\), is \(2, 3, 24, 24\)$/,
        ],
      ];
      const answers = await ask(
        torch,
        cases.map(([each]) => each),
      );
      for (const [i, [, message]] of cases.entries()) {
        expect(answers[i]?.error).toMatch(message);
        expect(answers[i]?.error).not.toContain("\n");
      }
    },
    PATIENCE,
  );
});

describe("the images of a model", () => {
  const MEAN = [0.485, 0.456, 0.406] as [number, number, number];
  const STD = [0.229, 0.224, 0.225] as [number, number, number];
  const SETTINGS: [CropMode, Interpolation, number][] = [
    ["center", "bicubic", 0.875],
    ["center", "bilinear", 1],
    ["squash", "bilinear", 0.9],
    ["border", "bicubic", 1],
    ["border", "nearest", 0.8],
  ];

  test.skipIf(!pillow)(
    "are prepared in Python as the workbench prepares them, and classes have their names",
    async () => {
      const photos = [
        [43, 53],
        [64, 40],
        [20, 20],
      ];
      const folder = at("photos");
      mkdirSync(folder);
      for (const [i, [width = 0, height = 0]] of photos.entries()) {
        const data = Uint8Array.from({ length: 3 * width * height }, (_, j) => (j * j * 31 + j * 7) % 251);
        await sharp(data, { raw: { width, height, channels: 3 } })
          .png()
          .toFile(`${folder}/${i}.png`);
      }
      const models = SETTINGS.map(([crop_mode, interpolation, crop_share], i) => {
        const model = at(`images-${i}`);
        mkdirSync(model);
        const part = { size: 24, mean: MEAN, std: STD, interpolation, crop_share, crop_mode };
        const config = { model_type: "gblr_vit", id2label: { 1: "b", 0: "a" }, gblr: { images: part } };
        writeFileSync(`${model}/config.json`, JSON.stringify(config));
        return model;
      });
      const files = photos.map((_, i) => `${folder}/${i}.png`);
      const answers = await askPython<{ values: number[][]; top: [string, number][][] }[]>(pillow, "prepared.py", {
        args: [SOURCES, JSON.stringify({ models, files })],
      });
      for (const [i, [cropMode, interpolation, cropShare]] of SETTINGS.entries()) {
        for (const [j, file] of files.entries()) {
          const border = borderOf(MEAN);
          const view = evaluationView(await decodeImage(readFileSync(file)), {
            ...{ size: 24, cropMode, interpolation, cropShare },
            ...(cropMode === "border" && { border }),
          });
          const values = answers[i]?.values[j] as number[];
          expect(values.length).toBe(3 * 24 * 24);
          const worst = values.reduce((worst, value, at) => {
            const [color, pixel] = [Math.floor(at / 576), at % 576];
            return Math.max(
              worst,
              Math.abs(
                value * (STD[color] as number) +
                  (MEAN[color] as number) -
                  (view.data[3 * pixel + color] as number) / 255,
              ),
            );
          }, 0);
          // Pillow before 13 resizes by a level otherwise.
          expect(worst).toBeLessThan(1 / 255 + 1e-5);
        }
        const names = answers[i]?.top[0]?.map(([name]) => name);
        expect(names).toEqual(["2", "b", "a"]);
      }
    },
    PATIENCE,
  );

  test.skipIf(!torch)(
    "are described in config.json of every structured folder, as the workbench itself takes them",
    async () => {
      for (const each of folders.filter(isStructured)) {
        const { gblr } = JSON.parse(readFileSync(`${each.folder}/config.json`, "utf8"));
        const model = await loadModelNow(each.folder);
        const { size, mean, std, interpolation, cropShare, cropMode } = imageSettings(model);
        model.dispose();
        expect(gblr.images).toEqual({
          ...{ size, mean, std, interpolation },
          ...{ crop_share: cropShare, crop_mode: cropMode },
        });
      }
    },
    PATIENCE,
  );
});
