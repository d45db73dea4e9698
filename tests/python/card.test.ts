// The Python that a model's card shows, run as it stands in the model's folder: it must print the classes that the
// workbench sees in a photo.

import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import sharp from "sharp";
import { type CardFacts, modelCard } from "../../hub/card/index.ts";
import { evaluationView } from "../../workbench/data/images/crop.ts";
import { decodeImage } from "../../workbench/data/images/decode.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { imageSettings } from "../../workbench/models/images/image-settings.ts";
import type { Model } from "../../workbench/models/index.ts";
import { logitsOf } from "../architectures/small-vision.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { PATIENCE, pythonWith, runPython } from "./python.ts";
import { KINDS, saveKind } from "./small-vision-folders.ts";

const pillow = pythonWith("torch", "PIL");
const transformers = pythonWith("torch", "PIL", "transformers");
const at = temporaryFolder();
const FACTS: CardFacts = { title: "small", task: "image-classification", structure: "gblr", hasPython: true };
const PROCESSOR = {
  image_processor_type: "ViTImageProcessor",
  size: { height: 16, width: 16 },
  resample: 2,
  image_mean: [0.5, 0.4, 0.3],
  image_std: [0.2, 0.3, 0.4],
};
const [TIMM, OWN] = ["vit, timm", "vit, hugging face"];

async function prepared(kind: string, processor?: object): Promise<string> {
  const folder = at(kind.replaceAll(/\W+/g, "-"));
  await saveKind(KINDS[kind] as (typeof KINDS)[string], { folder, what: "gblr", ...(processor && { processor }) });
  const [width, height] = [40, 30];
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 3 + (i % 3) * 60) % 256);
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(`${folder}/photo.jpg`);
  return folder;
}

beforeAll(async () => {
  if (pillow) await openEngine(ENGINES[0]?.options);
}, PATIENCE);

/** Of the folder's photo, `59.1%  a` and so on, the likeliest first. */
async function expectedLines(folder: string): Promise<string[]> {
  const model: Model = await loadModelNow(folder);
  const { size, mean, std, interpolation, cropShare, cropMode, labels } = imageSettings(model);
  const view = evaluationView(await decodeImage(readFileSync(`${folder}/photo.jpg`)), {
    ...{ size, interpolation, cropShare, cropMode },
  });
  const values = Float32Array.from(view.data, (value, i) => {
    const color = i % 3;
    return (value / 255 - (mean[color] as number)) / (std[color] as number);
  });
  const images = tf.tensor4d(values, [1, size, size, 3]);
  const logits = await logitsOf(model, images);
  images.dispose();
  model.dispose();
  const total = logits.reduce((sum, value) => sum + Math.exp(value), 0);
  return [...logits]
    .map((value, index): [number, string] => [Math.exp(value) / total, labels?.[index] ?? String(index)])
    .sort(([a], [b]) => b - a)
    .map(([share, label]) => `${(100 * share).toFixed(1)}%  ${label}`);
}

async function runBlock(
  python: string | undefined,
  { card, heading, folder }: { card: string; heading: string; folder: string },
) {
  const [, code] = card.slice(card.indexOf(heading)).match(/```python\n([\s\S]*?)\n```/) as RegExpMatchArray;
  const env = { PYTHONWARNINGS: "ignore", HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface") };
  const { status, stdout, stderr } = await runPython(python, code as string, { cwd: folder, env });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim().split("\n");
}

test.skipIf(!pillow)(
  "a card's Python for PyTorch alone prints the five likeliest classes of a photo",
  async () => {
    for (const [kind, processor] of [[TIMM], [OWN, PROCESSOR]] as [string, object?][]) {
      const folder = await prepared(kind, processor);
      const card = modelCard({ ...FACTS, hasProcessor: processor !== undefined });
      const heading = processor ? "With PyTorch alone" : "In Python, with PyTorch and Pillow";
      const lines = await runBlock(pillow, { card, heading, folder });
      expect(lines).toEqual(await expectedLines(folder));
      expect(new Set(lines).size).toBe(5);
    }
  },
  PATIENCE,
);

test.skipIf(!transformers)(
  "a card's Python for transformers prints the same",
  async () => {
    const folder = await prepared(OWN as string, PROCESSOR);
    const card = modelCard({ ...FACTS, hasProcessor: true });
    const lines = await runBlock(transformers, { card, heading: "In Python, with transformers", folder });
    expect(lines).toEqual(await expectedLines(folder));
  },
  PATIENCE,
);

test("a card names the repository in its Python, and shows a processor only where there is one", () => {
  const card = modelCard({ ...FACTS, repository: "me/vit-gblr", hasProcessor: true, hasTrainable: true });
  expect(card).toContain('AutoModelForImageClassification.from_pretrained("me/vit-gblr", trust_remote_code=True)');
  expect(card).toContain('AutoImageProcessor.from_pretrained("me/vit-gblr")');
  expect(card).toContain('folder = snapshot_download("me/vit-gblr")');
  expect(card).toContain('load(folder, form="trainable")');
  const without = modelCard({ ...FACTS, repository: "me/vit-gblr" });
  expect(without).not.toContain("AutoImageProcessor");
  expect(without).toContain("AutoModelForImageClassification.from_pretrained");
  expect(modelCard({ ...FACTS, hasPython: false })).not.toContain("python");
});
