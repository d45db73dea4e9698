// The ResNet-18 of a package on PyPI, at its full size: imported from its state_dict, it gives torchvision's logits on
// real images, is evaluated, converted, packed for Python and exported for torchvision. The package holds a network of
// 10 unnamed classes as it is initialized, before any training, so its accuracy is that of chance; the same weights with
// the running statistics of real images are a second, less regular case.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { addConvert } from "../../../workbench/cli/convert.ts";
import { addEval } from "../../../workbench/cli/eval.ts";
import { addExport } from "../../../workbench/cli/export.ts";
import { addImport } from "../../../workbench/cli/import.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { classifierLogits } from "../../../workbench/models/index.ts";
import { expectNear } from "../../architectures/vision.ts";
import { runVerb } from "../../cli/in-process.ts";
import { bytesOf, CIFAR, IMAGES_ARE_HERE, openImagesNow, write } from "../../data/images/image-sets.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../../python/python.ts";
import { packagedResnet18 } from "../../real-models.ts";
import { taken } from "../tiny.ts";

const SIDE = 224;
const CLASSES = 10;
const PER_CLASS = 3;
const COUNT = CLASSES * PER_CLASS;

const at = temporaryFolder();
const python = pythonWith("torch", "torchvision");
const weights = IMAGES_ARE_HERE ? packagedResnet18() : undefined;
const isHere = python !== undefined && weights !== undefined;
if (!IMAGES_ARE_HERE) console.log(`packaged-resnet.slow.test.ts: skipped, for want of the images in ${CIFAR}`);

interface Truth {
  logits: number[];
  taken: number[];
  top1: number;
}

let summary: unknown;
let truths: { trained: boolean; stored: Truth; seen: Truth };
const cacheBefore = process.env.GBLR_CACHE;

beforeAll(async () => {
  process.env.GBLR_CACHE = at("cache");
  if (!isHere) return;
  await openEngine();
  await writeImages(at("images"));
  const script = path.join(import.meta.dir, "packaged_resnet.py");
  const input = JSON.stringify({ folder: at("images", "test") });
  truths = await askPython(python, script, { args: [weights as string, at()], input });
  summary = await json(addImport, "import", weights as string, "--out", at("stored"));
  await json(addImport, "import", at("seen.pth"), "--out", at("seen"));
}, PATIENCE);

afterAll(() => {
  if (cacheBefore === undefined) delete process.env.GBLR_CACHE;
  else process.env.GBLR_CACHE = cacheBefore;
});

/** The first real images of each class, as a folder of folders. */
async function writeImages(folder: string): Promise<void> {
  const images = await openImagesNow({ dataset: CIFAR, split: "test", cache: at("cache") });
  const files: Record<string, Uint8Array> = {};
  const written = new Array<number>(CLASSES).fill(0);
  for (let i = 0; Object.keys(files).length < COUNT; i++) {
    const label = images.label(i);
    const count = written[label] as number;
    if (count === PER_CLASS) continue;
    written[label] = count + 1;
    files[`test/class-${label}/${count}.jpg`] = await bytesOf(images, i);
  }
  write(folder, files);
}

async function json<T>(add: Parameters<typeof runVerb>[0], ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await runVerb(add, [...args, "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as T;
}

/** Images as torchvision prepared them. @param count default all */
function preparedImages(count = COUNT): tf.Tensor4D {
  const { buffer, byteOffset } = readFileSync(at("images.bin"));
  return tf.tensor4d(new Float32Array(buffer, byteOffset, count * SIDE * SIDE * 3), [count, SIDE, SIDE, 3]);
}

async function logitsOf(folder: string, count = COUNT): Promise<Float32Array> {
  const model = await loadModelNow(folder);
  const logits = await taken(tf.tidy(() => classifierLogits(model, preparedImages(count))));
  model.dispose();
  return logits;
}

describe("the ResNet-18 of a package", () => {
  test.skipIf(!isHere)(
    "is imported by names and shapes, and says what it assumed",
    () => {
      expect(summary).toMatchObject({
        name: "resnet18",
        classes: CLASSES,
        tensors: 122,
        assumed: { imageSize: SIDE, mean: [0.485, 0.456, 0.406], interpolation: "bilinear", cropShare: 0.875 },
        leftOut: [],
      });
      expect(truths.trained).toBe(false);
    },
    PATIENCE,
  );

  for (const kind of ["stored", "seen"] as const) {
    test.skipIf(!isHere)(
      `gives torchvision's logits on real images, and eval acc its predictions: ${kind}`,
      async () => {
        expectNear(await logitsOf(at(kind)), truths[kind].logits, 1e-4);
        const result = await json<{ top1: number; images: number; confusions: Confusion[] }>(
          addEval,
          ...["eval", "acc", at(kind), "--dataset", at("images"), "--split", "test"],
        );
        expect(result.images).toBe(COUNT);
        expect(result.top1).toBeCloseTo(truths[kind].top1, 6);
        const counted = new Map<string, number>();
        for (const { class: own, taken: other, images } of result.confusions) counted.set(`${own} ${other}`, images);
        expect(counted).toEqual(confusionsOf(truths[kind].taken));
      },
      PATIENCE,
    );
  }

  const WAYS: [string, string[]][] = [
    ["gblr", ["--structure", "gblr", "--budget", "0.4"]],
    ["lowrank", ["--structure", "lowrank", "--flops", "0.6", "--allocate", "global"]],
    ["tucker", ["--structure", "tucker", "--budget", "0.5", "--layers", "layer1"]],
  ];
  for (const [structure, args] of WAYS) {
    test.skipIf(!isHere)(
      `is converted to ${structure}, gives the same in Python, and is dense again for torchvision`,
      async () => {
        const [out, back] = [at(structure), at(`${structure}-dense`)];
        await json(addConvert, "convert", at("seen"), "--out", out, ...args);
        const logits = await logitsOf(out, 2);
        await json(addExport, "export", out, "--to", "dense", "--out", back);
        expectNear(await logitsOf(back, 2), [...logits], 1e-4);
        const [packed, dense] = await askPython<[number[], number[]]>(python, READ, {
          args: [SOURCES, at("images.bin"), out, back],
        });
        expectNear(Float32Array.from(packed), [...logits], 1e-4);
        expectNear(Float32Array.from(dense), [...logits], 1e-4);
        // The conversion is an approximation of the model that was converted, not the model itself.
        expect(() => expectNear(logits, truths.seen.logits.slice(0, 2 * CLASSES), 1e-4)).toThrow();
      },
      PATIENCE,
    );
  }
});

interface Confusion {
  class: string;
  taken: string;
  images: number;
}

/** How often each class was taken for each. Images come class by class. */
function confusionsOf(predictions: readonly number[]): Map<string, number> {
  const counted = new Map<string, number>();
  for (const [i, label] of predictions.entries()) {
    const pair = `class-${Math.floor(i / PER_CLASS)} class-${label}`;
    counted.set(pair, (counted.get(pair) ?? 0) + 1);
  }
  return counted;
}

/** A packed folder by our Python files, and a dense one by torchvision. */
const READ = `
import json, sys, numpy, torch, torchvision
sys.path.insert(0, sys.argv[1])
from safetensors.torch import load_file
from modeling_gblr import load
x = torch.from_numpy(numpy.fromfile(sys.argv[2], "float32", 2 * 3 * ${SIDE * SIDE})).reshape(2, ${SIDE}, ${SIDE}, 3).permute(0, 3, 1, 2)
dense = torchvision.models.resnet18(num_classes=${CLASSES})
found = dense.load_state_dict(load_file(sys.argv[4] + "/model.safetensors"), strict=False)
assert not found.unexpected_keys and all(name.endswith("num_batches_tracked") for name in found.missing_keys), found
with torch.no_grad():
    logits = [model.eval()(x).double().flatten().tolist() for model in (load(sys.argv[3]), dense)]
print(json.dumps(logits))
`;
