// Whole experiments with classifiers of images, as processes: from a folder of images to rows, report, card and the table
// of how far splits are apart; killed and started again; and what is told of data that cannot be meant.

import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import type { Classification, ComparisonRow, ConvertedLayer, RunRecord } from "../../workbench/report/index.ts";
import { RESNET as SMALL, smallResnet } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timeless } from "./timeless.ts";
import { GBLR, type Ran, ROOT, run, start } from "./tiny-hub.ts";
import { CLASSES, makeTinyImages, QUICK_VIT } from "./tiny-images.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
const RECIPE = join(ROOT, "recipes/vit-s-cifar10.ts");
const RESNET = join(ROOT, "recipes/resnet18-imagenet.ts");
const ARGS = [...QUICK_VIT, "--budget", "0.5", "--shrink", "budget"];
let place: { hub: string; work: string };
let images: string;

beforeAll(async () => {
  images = await makeTinyImages(folder("images"));
  place = { hub: folder("hub"), work: folder("work") };
  for (const path of Object.values(place)) mkdirSync(path);
});

const recipe = (...args: string[]) => run(RECIPE, args, place);
const at = (...names: string[]) => join(place.work, ...names);
const read = <T>(...names: string[]): T => JSON.parse(readFileSync(at(...names), "utf8")) as T;

function expectEnded({ code, stderr }: Ran): void {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
}

const rowNamed = (rows: readonly ComparisonRow[], name: string, stage: string): ComparisonRow => {
  const found = rows.find((row) => row.name === name && row.stage === stage);
  if (!found) throw new Error(`no row ${name}, ${stage}: there is ${rows.map((row) => `${row.name} ${row.stage}`)}`);
  return found;
};

describe("a ViT from scratch, with GBLR and low rank", () => {
  let rows: readonly ComparisonRow[];

  beforeAll(async () => {
    const ran = await recipe("--dataset", images, ...ARGS, "--compare", "lowrank", "--run", "run", "--json");
    expectEnded(ran);
    rows = JSON.parse(ran.stdout).rows;
  }, PATIENCE);

  test("rows are judged by top-1, then top-5 and the loss", () => {
    expect(rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual([
      "dense, untrained before",
      "low rank before",
      "low rank after",
      "GBLR, SVD before",
      "GBLR, SVD after",
    ]);
    for (const { metrics } of rows) expect(Object.keys(metrics)).toEqual(["top1", "top5", "loss"]);
  });

  test("both learn what there is to learn, at half of the cost of the layers", () => {
    const dense = rowNamed(rows, "dense, untrained", "before");
    for (const name of ["low rank", "GBLR, SVD"]) {
      const row = rowNamed(rows, name, "after");
      expect(row.metrics.top1).toBeGreaterThan(0.8);
      expect(row.metrics.loss as number).toBeLessThan(dense.metrics.loss as number);
      expect(row.relativeFlops?.reference).toBeLessThan(0.65);
    }
    expect(read<RunRecord>("run/run.json")).toMatchObject({
      status: "finished",
      task: "image-classification",
      comparisonSplit: "test",
    });
  });

  test("the splits stand side by side, with the confusion that the accuracy is of", () => {
    const { classes, splits, confusion = [] } = read<Classification>("run/classification.json");
    expect(classes).toEqual(Object.keys(CLASSES));
    expect(Object.keys(splits)).toEqual(["train", "validation", "test"]);
    expect(confusion.map((row) => row.reduce((sum, count) => sum + count))).toEqual([6, 6, 6]);
    const right = confusion.reduce((sum, row, i) => sum + (row[i] as number), 0) / 18;
    expect(splits.test?.top1).toBe(right);
    const { metrics } = rowNamed(rows, "GBLR, SVD", "after");
    expect(splits.test as Record<string, number>).toEqual(metrics as Record<string, number>);
    expect(readFileSync(at("run/report.html"), "utf8")).toContain("gap, test − train");
  });

  test("training is watched on the held out images and on as many training images as asked for", () => {
    const lines = readFileSync(at("run/metrics.jsonl"), "utf8").trim().split("\n");
    const seen = lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === "evaluation");
    expect(new Set(seen.map(({ split }) => split))).toEqual(new Set(["train", "validation"]));
    for (const { split, values } of seen) {
      const count = { train: 27, validation: 9 }[split as "train" | "validation"];
      expect((values.top1 as number) * count).toBeCloseTo(Math.round(values.top1 * count), 9);
    }
  });

  test("eval acc finds the same accuracy in the folder that was saved", async () => {
    const args = ["eval", "acc", "run/model", "--dataset", images, "--engine", "wasm", "--json"];
    const ran = await run(GBLR, args, place);
    expectEnded(ran);
    const { metrics } = rowNamed(rows, "GBLR, SVD", "after");
    const { top1, loss } = JSON.parse(ran.stdout);
    expect(top1).toBe(metrics.top1 as number);
    expect(loss).toBeCloseTo(metrics.loss as number, 6);
  });

  test("the card says the accuracy on the split that it is of", () => {
    const card = readFileSync(at("run/model/README.md"), "utf8");
    expect(card).toMatch(/pipeline_tag: image-classification/);
    expect(card).toContain(`Measured on ${images}, split test.`);
    expect(card).toMatch(/^\| GBLR, SVD \| after \| \**\d+\.\d\d %/m);
  });

  test(
    "the trained model is one to start from: its size, classes and colors are its own",
    async () => {
      const { code, stdout, stderr } = await recipe(
        ...["--dataset", images, "--model", "run/compare/lowrank/model", "--structure", "dense", "--steps", "1"],
        ...["--hold-out", "0.25", "--batch", "9", "--micro-batch", "9", "--warmup-epochs", "0", "--shrink", "none"],
        ...["--engine", "wasm", "--workers", "0", "--run", "on", "--json"],
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const [first] = JSON.parse(stdout).rows as ComparisonRow[];
      expect(first).toMatchObject({ structure: "lowrank", stage: "before" });
      expect(first?.metrics).toEqual(rowNamed(rows, "low rank", "after").metrics);
    },
    PATIENCE,
  );
});

test(
  "killed in the middle of training and started again, it ends with the rows of one left alone",
  async () => {
    const args = ["--dataset", images, ...ARGS, "--mixup", "0.8", "--cutmix", "1", "--checkpoint-every", "0.5"];
    expectEnded(await recipe(...args, "--run", "alone"));
    const child = start(RECIPE, [...args, "--run", "killed"], place);
    const stderr = new Response(child.stderr).text();
    let told = "";
    for await (const bytes of child.stdout) {
      told += new TextDecoder().decode(bytes);
      if (told.includes("step 12 ")) child.kill("SIGKILL");
    }
    await child.exited;
    expect(await stderr).toBe("");
    expect(child.signalCode).toBe("SIGKILL");
    expect(readdirSync(at("killed"))).toContain("checkpoint");
    const again = await recipe(...args, "--run", "killed");
    expectEnded(again);
    expect(again.stdout).toMatch(/resumes after step \d+ of 24/);
    expect(timeless(read("killed/comparison.json"))).toEqual(timeless(read("alone/comparison.json")));
  },
  PATIENCE,
);

test(
  "convolutions are compressed whole and position by position, calibrated or not",
  async () => {
    await openEngine({ engine: "wasm" });
    const model = smallResnet({ ...SMALL, num_classes: 3 });
    await saveModelNow(model, at("resnet"));
    model.dispose();
    const sizes = ["--model", "resnet", "--budget", "0.5"];
    const quick = ["--steps", "1", "--batch", "6", "--micro-batch", "6", "--warmup-steps", "1", "--shrink", "none"];
    const data = ["--dataset", images, "--hold-out", "0.5", "--test-split", "test", "--train-limit", "6"];
    const machine = ["--engine", "wasm", "--workers", "0", "--limit", "3", "--train-sample", "3"];
    const all = [...sizes, ...quick, ...data, ...machine, "--json"];
    const whole = await run(RESNET, [...all, "--compare", "tucker", "--run", "whole"], place);
    expectEnded(whole);
    const names = (JSON.parse(whole.stdout).rows as ComparisonRow[]).map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(["dense", "Tucker-2", "GBLR, SVD"]));
    const kernels = ["--convolutions", "per-kernel", "--init", "activation", "--calibration-samples", "4"];
    expectEnded(await run(RESNET, [...all, ...kernels, "--run", "kernels"], place));
    const layers = read<{ layer: string }[]>("kernels/conversion.json").map(({ layer }) => layer);
    expect(layers).toHaveLength(36);
    expect(layers).toContain("layer1.0.conv1.4");
  },
  PATIENCE,
);

describe("what cannot be meant is told in one line, before any work", () => {
  const refusal = async (args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await recipe(...QUICK_VIT, ...args, "--shrink", "none", "--run", "refused");
    expect(code).toBeGreaterThan(0);
    expect(stdout).not.toContain("measure");
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(existsSync(at("refused/metrics.jsonl"))).toBe(false);
    return stderr;
  };
  const copied = (name: string, change: (copy: string) => void): string => {
    const copy = folder(name);
    cpSync(images, copy, { recursive: true });
    change(copy);
    return copy;
  };

  test("a folder without images", async () => {
    mkdirSync(folder("empty/train/red"), { recursive: true });
    expect(await refusal(["--dataset", folder("empty")])).toContain("has no images");
  });

  test("a share held out that leaves nothing to train on, or to validate with", async () => {
    const left = (share: string) => refusal(["--dataset", images, "--hold-out", share]);
    expect(await left("0.999")).toMatch(
      /--hold-out 0.999 of \d+ images leaves 0 for training and \d+ for validation; /,
    );
    expect(await left("0.001")).toContain("and 0 for validation; give another share");
  });

  test("a folder of runs that cannot be made", async () => {
    writeFileSync(at("taken"), "a file");
    const { code, stderr } = await recipe(...QUICK_VIT, "--dataset", images, "--run", "taken/run");
    expect(code).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toMatch(/taken\/run: cannot be created: /);
  });

  test("a class that the training split does not know", async () => {
    const data = copied("unknown", (copy) =>
      cpSync(join(copy, "test/red"), join(copy, "test/violet"), { recursive: true }),
    );
    expect(await refusal(["--dataset", data])).toMatch(/violet.*none of the 3 classes: .*blue.*green.*red/);
  });

  test("a model whose head has another number of classes", async () => {
    const data = copied("two", (copy) => {
      for (const split of ["train", "test"]) {
        rmSync(join(copy, split, "red"), { recursive: true });
        renameSync(join(copy, split, "blue"), join(copy, split, "azure"));
      }
    });
    const { code, stderr } = await recipe(
      ...["--dataset", data, "--model", "run/compare/lowrank/model", "--structure", "dense", "--hold-out", "0.25"],
      ...["--engine", "wasm", "--shrink", "none", "--run", "refused"],
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^[^\n]*has 2 classes and the model's head 3; [^\n]*--new-head\n$/);
  });

  test("an image of no bytes, which --skip-bad leaves out", async () => {
    const data = copied("zero", (copy) => writeFileSync(join(copy, "test/red/0.png"), ""));
    const args = [...QUICK_VIT, "--dataset", data, "--structure", "dense", "--steps", "1", "--shrink", "none"];
    const { code, stderr } = await recipe(...args, "--run", "zero");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^[^\n]*test\/red\/0\.png: is empty, 0 bytes[^\n]*--skip-bad\n$/);
    expectEnded(await recipe(...args, "--run", "skipped", "--skip-bad"));
    const { confusion = [] } = read<Classification>("skipped/classification.json");
    expect(confusion.map((row) => row.reduce((sum, count) => sum + count))).toEqual([6, 6, 5]);
  });

  test.each([
    [["--hold-out", "1.5"], "--hold-out 1.5"],
    [["--rand-augment", "strong"], "m9-mstd0.5"],
    [["--rand-augment", "m9", "--color-jitter", "0.4"], "--rand-augment and --color-jitter contradict"],
    [["--model", "scratch:vgg16"], `timm's "vgg16" is not supported; give one of`],
    [["--model", "run/model", "--size", "32"], "--size is for models from scratch"],
    [["--crop", "0"], "--crop 0"],
  ])("%p", async (args, message) => {
    const all = args[0] === "--model" ? ["--dataset", images, "--run", "refused", ...args] : undefined;
    if (all === undefined) return expect(await refusal(["--dataset", images, ...args])).toContain(message);
    const { code, stderr } = await recipe(...all, "--engine", "wasm");
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});

test(
  "a budget is shared out by what layers do to images where the start goes by that too",
  async () => {
    const lowrank = ["--structure", "lowrank", "--init", "activation", "--allocate", "global"];
    const rest = ["--compare", "lowrank:svd:global", "--calibration-samples", "12", "--run", "shared-out"];
    expectEnded(await recipe("--dataset", images, ...ARGS, ...lowrank, ...rest, "--steps", "1"));
    const costs = (...names: string[]) =>
      read<ConvertedLayer[]>("shared-out", ...names, "conversion.json").map(({ costAfter }) => costAfter);
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    const [byOutputs, byEntries] = [costs(), costs("compare", "lowrank-global")];
    expect(byOutputs).not.toEqual(byEntries);
    expect(Math.abs(sum(byOutputs) / sum(byEntries) - 1)).toBeLessThan(0.02);
  },
  PATIENCE,
);
