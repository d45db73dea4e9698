// `gblr convert --check` on an image classifier that has learned colors: its accuracy before and after, in points,
// and layers put back where it falls.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import type { Conversion } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import { saveModelNow } from "../../../workbench/models/index.ts";
import type { CheckOutcome } from "../../../workbench/pipeline/check/check.ts";
import { RESNET, smallResnet } from "../../architectures/small-vision.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { GBLR, ROOT, run } from "../tiny-hub.ts";

setDefaultTimeout(240_000);

const EDGE = 24;
const folder = temporaryFolder();
const place = { hub: folder("hub"), work: folder("work") };
let images: string;

/** Flags with which a small ResNet learns the colors in seconds. */
const QUICK = [
  ...["--model", "resnet", "--hold-out", "0.25", "--test-split", "test", "--steps", "80", "--batch", "18"],
  ...[
    "--micro-batch",
    "9",
    "--warmup-steps",
    "4",
    "--learning-rate",
    "1e-2",
    "--structure",
    "dense",
    "--shrink",
    "none",
  ],
  ...["--evaluate-every", "20", "--engine", "wasm", "--workers", "0", "--distill", "0"],
];
const FLAGS = ["--structure", "lowrank", "--budget", "0.16", "--engine", "wasm"];

async function convert(...args: string[]): Promise<Conversion & { check: CheckOutcome }> {
  const { code, stdout, stderr } = await run(GBLR, ["convert", "run/model", ...FLAGS, ...args, "--json"], place);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

async function accuracy(model: string): Promise<number> {
  const data = ["--dataset", images, "--split", "train", "--engine", "wasm", "--workers", "0", "--json"];
  return JSON.parse((await run(GBLR, ["eval", "acc", model, ...data], place)).stdout).top1;
}

/** Eight classes: each of red, green and blue is strong or weak, so that one direction of color space is not enough. */
async function makeColors(at: string): Promise<string> {
  const uniform = seededUniform(9);
  for (const [split, count] of Object.entries({ train: 12, test: 3 })) {
    for (let label = 0; label < 8; label++) {
      mkdirSync(join(at, split, `color-${label}`), { recursive: true });
      for (let i = 0; i < count; i++) {
        const data = Uint8Array.from({ length: EDGE * EDGE * 3 }, (_, k) => {
          const isStrong = (label >> (k % 3)) % 2 === 1;
          return Math.round(128 + (isStrong ? 50 : -50) + 100 * (uniform() - 0.5));
        });
        const png = sharp(data, { raw: { width: EDGE, height: EDGE, channels: 3 } }).png();
        writeFileSync(join(at, split, `color-${label}`, `${i}.png`), await png.toBuffer());
      }
    }
  }
  return at;
}

beforeAll(async () => {
  for (const each of Object.values(place)) mkdirSync(each);
  images = await makeColors(folder("images"));
  await openEngine({ engine: "wasm" });
  const model = smallResnet({ ...RESNET, num_classes: 8 });
  await saveModelNow(model, join(place.work, "resnet"));
  model.dispose();
  const recipe = join(ROOT, "recipes/resnet18-imagenet.ts");
  const { code, stderr } = await run(recipe, [...QUICK, "--dataset", images, "--run", "run"], place);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

test("a check measures accuracy as eval acc does, and puts layers back where it falls by more points than allowed", async () => {
  const data = ["--check", images, "--check-split", "train"];
  const { check: whole } = await convert(...data, "--out", "whole");
  expect(whole).toMatchObject({ metric: "top1", unit: "points of top-1 accuracy", putBack: [] });
  const [before, after] = [await accuracy("run/model"), await accuracy("whole")];
  expect([whole.before.metrics.top1, whole.after.metrics.top1]).toEqual([before, after]);
  expect(whole.increase.after).toBeCloseTo(100 * (before - after), 9);
  // The model has learned, and the conversion has harmed it.
  expect(before).toBeGreaterThan(0.8);
  expect(whole.increase.after).toBeGreaterThan(5);

  const { check, layers } = await convert(...data, "--max-loss-increase", "3", "--out", "safe");
  expect(check.increase.after).toBeLessThanOrEqual(3);
  expect(check.putBack.length).toBeGreaterThan(0);
  expect(await accuracy("safe")).toBe(check.after.metrics.top1 as number);
  const put = layers.filter(({ structure }) => structure === "dense").map(({ name }) => name);
  expect(put.sort()).toEqual(check.putBack.map(({ layer }) => layer).sort());
});
