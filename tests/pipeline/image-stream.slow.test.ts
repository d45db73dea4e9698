// `--stream` of images from the command line: CIFAR-10 comes from a Hub by range requests, and is not downloaded.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { CIFAR, IMAGES_ARE_HERE } from "../data/images/image-sets.ts";
import { type HostileHub, hostileHub } from "../hub/hostile-server.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import { GBLR, ROOT, run, start } from "./tiny-hub.ts";

setDefaultTimeout(240_000);
if (!IMAGES_ARE_HERE) console.log("streams of CIFAR-10 are not tested: the data set is not at hand");

const at = temporaryFolder();
const RECIPE = join(ROOT, "recipes/vit-s-cifar10.ts");
const CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const TRAIN = "plain_text/train-00000-of-00001.parquet";
const TEST = "plain_text/test-00000-of-00001.parquet";
const README = `---
license: mit
configs:
- config_name: plain_text
  data_files:
  - {split: train, path: plain_text/train-*}
  - {split: test, path: plain_text/test-*}
dataset_info:
  config_name: plain_text
  features:
  - name: label
    dtype:
      class_label:
        names: [${CLASSES.join(", ")}]
---
`;
let hub: HostileHub;
let size: number;
const place = () => ({ hub: at("none"), work: at("work"), env: { HF_ENDPOINT: hub.url } });

beforeAll(async () => {
  if (!IMAGES_ARE_HERE) return;
  mkdirSync(at("work"), { recursive: true });
  const [train, test] = [TRAIN, TEST].map((name) => readFileSync(join(CIFAR, name))) as [Buffer, Buffer];
  size = train.length;
  hub = await hostileHub({ "README.md": new TextEncoder().encode(README), [TRAIN]: train, [TEST]: test });
  await openEngine({ engine: "wasm" });
  const model = smallVit({ ...VIT, num_classes: 10, pretrained_cfg: { input_size: [3, 16, 16] } });
  await saveModelNow(model, at("work", "vit"));
  model.dispose();
});
afterAll(() => hub?.close());

const DATA = ["--dataset", "x/y", "--stream", "--validation-split", "test", "--shuffle-images", "64"];
const SMALL = ["--limit", "30", "--train-sample", "20", "--workers", "1", "--engine", "wasm", "--batch", "8"];
const STEPS = ["--micro-batch", "4", "--steps", "24", "--warmup-epochs", "0", "--evaluate-every", "0.0096"];
const FLAGS = [...DATA, ...SMALL, ...STEPS, "--checkpoint-every", "0.0016"];

const inCache = () =>
  readdirSync(at("work/huggingface"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("parquet"));

const lossesIn = async (folder: string) =>
  (await timelessMetrics(at("work", folder))).filter(({ kind }) => kind === "step").map(({ loss }) => loss);

/** Ends well. @returns what it printed */
async function ran(script: string, flags: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(script, flags, place());
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  return stdout + stderr;
}

describe.skipIf(!IMAGES_ARE_HERE)("a training with --stream of images", () => {
  test("fetches ranges of the training split only, and a recipe from scratch calibrates on its first images", async () => {
    hub.asked.length = 0;
    const scratch = ["--model", "scratch:vit_tiny_patch8_32", "--width", "24", "--blocks", "2", "--heads", "2"];
    const flags = [...FLAGS, ...scratch, "--hold-out", "0", "--sigma-epochs", "0,0.01", "--decay-epochs", "0.02"];
    const compression = ["--init", "activation", "--calibration-samples", "12", "--budget", "0.5", "--shrink", "none"];
    const told = await ran(RECIPE, [...flags, ...compression, "--steps", "6", "--run", "recipe"]);
    expect(told).toMatch(/train: streams 10000 images in 1 file of 9\.27 MB, divided among the 2 micro-batches/);
    expect(inCache().map((name) => name.replace(/.*\//, ""))).toEqual([TEST.replace(/.*\//, "")]);
    const ofTrain = hub.asked.filter(({ path }) => path.endsWith(TRAIN));
    expect(ofTrain.length).toBeGreaterThan(3);
    let bytes = 0;
    for (const { headers } of ofTrain) {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
      bytes += Number(last) - Number(first) + 1;
    }
    // One row group of ten for each lane, for the sample and for the calibration.
    expect(bytes).toBeLessThan(0.7 * size);
    const losses = await lossesIn("recipe");
    expect(losses.length).toBe(6);
    expect(losses.every(Number.isFinite)).toBe(true);
    const { splits, classes } = JSON.parse(readFileSync(at("work/recipe/classification.json"), "utf8"));
    expect([classes, Object.keys(splits)]).toEqual([CLASSES, ["train", "validation"]]);
  });

  test("that is killed and started again ends as one left alone, bit by bit", async () => {
    const flags = ["finetune", "vit", ...FLAGS, "--mixup", "0.8", "--cutmix", "1"];
    await ran(GBLR, [...flags, "--run", "alone"]);
    const child = start(GBLR, [...flags, "--run", "killed"], place());
    for (let names: string[] = []; !names.some((name) => /step-0000000(00[4-9]|01\d)\.json$/.test(name)); ) {
      expect(child.exitCode).toBe(null);
      await new Promise((done) => setTimeout(done, 5));
      names = await Promise.resolve(at("work/killed/checkpoint"))
        .then((folder) => readdirSync(folder))
        .catch(() => []);
    }
    child.kill("SIGKILL");
    await child.exited;
    expect(await ran(GBLR, [...flags, "--run", "killed"])).toMatch(/resumes after step \d+ of 24/);
    expect(await timelessMetrics(at("work/killed"))).toEqual(await timelessMetrics(at("work/alone")));
    expect((await lossesIn("killed")).length).toBe(24);
  });

  test("holds out the last images of a data set of one split, and downloads nothing of it", async () => {
    const splits = ["--validation-split", "train", "--test-split", "train", "--steps", "2"];
    await ran(GBLR, ["finetune", "vit", ...FLAGS, ...splits, "--run", "only"]);
    const { confusion } = JSON.parse(readFileSync(at("work/only/classification.json"), "utf8"));
    expect((confusion as number[][]).flat().reduce((sum, count) => sum + count)).toBe(30);
    expect(inCache().filter((name) => name.endsWith(TRAIN))).toEqual([]);
  });

  test.each([
    [["--train-limit", "9"], /--train-limit and --stream exclude each other/],
    [["--hold-out", "0.1"], /--hold-out and --stream exclude each other: .*; give --hold-out 0 and --validation-split/],
    [["--batch", "64", "--micro-batch", "4"], /10 row groups of the split are fewer than the 16 micro-batches/],
    [["--validation-split", "more"], /no split "more".*; give --validation-split$/],
    [["--label-column", "image"], /train-.*parquet: has no column "image"; available: "?img/],
    [["--class-order", "text"], /labels are numbers, which cannot be reordered; leave out --class-order/],
    [["--offline"], /not in the cache .* and --offline or HF_HUB_OFFLINE is set/],
  ])("is refused in one line with %p", async (flags, message) => {
    const { code, stderr } = await run(GBLR, ["finetune", "vit", ...FLAGS, "--run", "refused", ...flags], place());
    expect(code).not.toBe(0);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(message);
  });

  test("of folders of images is refused in one line", async () => {
    mkdirSync(at("folders/train/red"), { recursive: true });
    mkdirSync(at("folders/test/red"), { recursive: true });
    const flags = [...FLAGS, "--dataset", at("folders"), "--run", "refused"];
    const { code, stderr } = await run(GBLR, ["finetune", "vit", ...flags], place());
    expect(code).not.toBe(0);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/folders: cannot be streamed: only parquet files/);
  });
});
