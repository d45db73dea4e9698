// `gblr finetune` on classifiers of images, as processes: from a dense folder and a compressed one, killed and gone on
// with; and which flags are for which kind of model, told by config.json alone. Text is in tests/pipeline.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import type { ComparisonRow, RunRecord } from "../../workbench/report/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timeless } from "../pipeline/timeless.ts";
import { GBLR, type Ran, run, start } from "../pipeline/tiny-hub.ts";
import { CLASSES, makeTinyImages } from "../pipeline/tiny-images.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
let place: { hub: string; work: string };
let images: string;

const at = (...names: string[]) => join(place.work, ...names);
const gblr = (...args: string[]) => run(GBLR, args, place);
const read = <T>(...names: string[]): T => JSON.parse(readFileSync(at(...names), "utf8")) as T;

const QUICK = [
  ...["--hold-out", "0.25", "--batch", "9", "--micro-batch", "9", "--learning-rate", "2e-3", "--evaluate-every", "4"],
  ...["--engine", "wasm", "--workers", "0"],
];

beforeAll(async () => {
  images = await makeTinyImages(folder("images"));
  place = { hub: folder("hub"), work: folder("work") };
  for (const path of Object.values(place)) mkdirSync(path);
  await openEngine({ engine: "wasm" });
  const model = smallVit({ ...VIT, num_classes: 3 });
  await saveModelNow(model, at("dense"));
  model.dispose();
}, PATIENCE);

function rowsOf({ code, stdout, stderr }: Ran): ComparisonRow[] {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout).rows;
}

describe("a classifier of images is trained on", () => {
  test(
    "from a dense folder, with the settings that images have",
    async () => {
      const args = ["--dataset", images, ...QUICK, "--steps", "12", "--crop", "0.5", "--run", "tuned", "--json"];
      const rows = rowsOf(await gblr("finetune", "dense", ...args));
      expect(rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual(["dense before", "dense after"]);
      const [before, after] = rows.map(({ metrics }) => metrics.loss as number) as [number, number];
      expect(after).toBeLessThan(before);
      const { task, settings } = read<RunRecord>("tuned/run.json");
      expect(task).toBe("image-classification");
      expect(settings).toMatchObject({
        schedule: "cosine",
        labelSmoothing: 0.1,
        weightDecay: 0.05,
        trainCrop: "resized",
      });
      // What was measured is what the folder says: no flag is needed again.
      const scored = await gblr("eval", "acc", "tuned/model", "--dataset", images, "--engine", "wasm", "--json");
      expect(JSON.parse(scored.stdout)).toMatchObject({
        top1: rows[1]?.metrics.top1,
        loss: expect.closeTo(rows[1]?.metrics.loss as number, 6),
        transform: { cropShare: 0.5, cropMode: "center" },
      });
    },
    PATIENCE,
  );

  test(
    "but not without a split to validate on, which --hold-out can make",
    async () => {
      const ended = await gblr("finetune", "dense", "--dataset", images, "--engine", "wasm", "--run", "refused");
      expect(ended.code).toBe(1);
      expect(ended.stderr).toMatch(
        /^[^\n]*has no split "validation"[^\n]*; give --validation-split, or --hold-out [^\n]*\n$/,
      );
      expect(existsSync(at("refused"))).toBe(false);
    },
    PATIENCE,
  );

  test(
    "from a compressed folder, killed on the way, to the rows of one left alone",
    async () => {
      const converted = ["convert", "dense", "--structure", "gblr", "--budget", "0.5", "--engine", "wasm"];
      expect((await gblr(...converted, "--out", "half")).code).toBe(0);
      const args = [
        "finetune",
        "half",
        "--dataset",
        images,
        ...QUICK,
        "--steps",
        "12",
        "--mixup",
        "0.8",
        "--distill",
        "0.3",
      ];
      const all = [...args, "--shrink", "budget", "--evaluate-every", "2", "--checkpoint-every", "0.5"];
      const rows = rowsOf(await gblr(...all, "--run", "alone", "--json"));
      expect(rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual(["GBLR before", "GBLR after"]);
      expect(rows[1]?.metrics.loss as number).toBeLessThan(rows[0]?.metrics.loss as number);
      const [before, after] = rows.map(({ relativeFlops }) => relativeFlops?.actual as number) as [number, number];
      expect(after).toBeLessThanOrEqual(before);

      const child = start(GBLR, [...all, "--run", "killed"], place);
      for await (const bytes of child.stdout) {
        if (new TextDecoder().decode(bytes).includes("step 6 ")) child.kill("SIGKILL");
      }
      await child.exited;
      expect(child.signalCode).toBe("SIGKILL");
      const again = await gblr(...all, "--run", "killed");
      expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: "" });
      expect(again.stdout).toMatch(/resumes after step \d+ of 12/);
      expect(timeless(read("killed/comparison.json"))).toEqual(timeless(rows));
    },
    PATIENCE,
  );
});

describe("a classifier of other classes than the data's", () => {
  beforeAll(async () => {
    const model = smallVit();
    await saveModelNow(model, at("five"));
    model.dispose();
  });

  test(
    "is refused in one line that names the flag for a new head",
    async () => {
      const ended = await gblr("finetune", "five", "--dataset", images, ...QUICK, "--run", "refused");
      expect({ code: ended.code, stderr: ended.stderr }).toEqual({
        code: 1,
        stderr: `gblr: ${images}: has 3 classes and the model's head 5; choose a model trained on these classes, or pass --new-head\n`,
      });
      expect(existsSync(at("refused"))).toBe(false);
      const taught = await gblr("finetune", "five", "--dataset", images, "--new-head", "--distill", "0.5");
      expect(taught.code).toBe(2);
      expect(taught.stderr).toMatch(/^gblr: --new-head and --distill contradict[^\n]*\n$/);
      const adapted = await gblr("finetune", "five", "--dataset", images, "--new-head", "--lora", "2");
      expect(adapted).toMatchObject({
        code: 2,
        stderr: "gblr: --lora leaves the new head untrained; name its parameters, such as --lora-full fc or head\n",
      });
    },
    PATIENCE,
  );

  test(
    "learns them with a new head, killed on the way or not, and names them in its folder",
    async () => {
      const args = ["finetune", "five", "--dataset", images, ...QUICK, "--steps", "12", "--new-head"];
      const all = [...args, "--evaluate-every", "2", "--checkpoint-every", "0.5"];
      const rows = rowsOf(await gblr(...all, "--run", "headed", "--json"));
      const [before, after] = rows.map(({ metrics }) => metrics) as [
        ComparisonRow["metrics"],
        ComparisonRow["metrics"],
      ];
      expect(before.loss as number).toBeCloseTo(Math.log(3), 0);
      expect(rows[0]?.parameters).toBe(rows[1]?.parameters as number);
      expect(after.loss as number).toBeLessThan(before.loss as number);
      expect(read<RunRecord>("headed/run.json").settings.newHead).toBe(true);
      const config = read<Record<string, unknown>>("headed/model/config.json");
      expect(config).toMatchObject({ num_classes: 3, label_names: Object.keys(CLASSES) });
      const child = start(GBLR, [...all, "--run", "headed-killed"], place);
      for await (const bytes of child.stdout) {
        if (new TextDecoder().decode(bytes).includes("step 6 ")) child.kill("SIGKILL");
      }
      await child.exited;
      expect(child.signalCode).toBe("SIGKILL");
      const again = await gblr(...all, "--run", "headed-killed");
      expect(again.stdout).toMatch(/resumes after step \d+ of 12/);
      expect(timeless(read("headed-killed/comparison.json"))).toEqual(timeless(rows));
      const scored = await gblr("eval", "acc", "headed/model", "--dataset", images, "--engine", "wasm", "--json");
      expect(JSON.parse(scored.stdout).top1).toBe(after.top1 as number);
    },
    PATIENCE,
  );
});

describe("flags are refused that the model has no use for", () => {
  const refused = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await gblr("finetune", ...args, "--engine", "wasm", "--run", "refused");
    expect({ code, stdout, lines: stderr.trim().split("\n").length }).toEqual({ code: 2, stdout: "", lines: 1 });
    expect(existsSync(at("refused"))).toBe(false);
    return stderr;
  };

  test(
    "of language models by a classifier",
    async () => {
      expect(await refused("dense", "--dataset", images, "--context", "32")).toBe(
        "gblr: --context is for language models; dense is a vit\n",
      );
      expect(await refused("dense", "--dataset", images, "--context", "32", "--column", "text")).toBe(
        "gblr: --column and --context are for language models; dense is a vit\n",
      );
    },
    PATIENCE,
  );

  test(
    "of classifiers by a language model of the Hub, of which config.json alone is fetched",
    async () => {
      const repository = join(place.hub, "models/tiny/gpt2");
      mkdirSync(repository, { recursive: true });
      const config = { model_type: "gpt2", n_layer: 1, n_embd: 8, n_head: 2, n_positions: 8, vocab_size: 5 };
      writeFileSync(join(repository, "config.json"), JSON.stringify(config));
      expect(await refused("tiny/gpt2", "--dataset", "tiny/stories", "--mixup", "0.5", "--skip-bad")).toBe(
        "gblr: --skip-bad and --mixup are for image classifiers; tiny/gpt2 is a gpt2\n",
      );
      expect(await refused("zoo:resnet18-gaudi", "--dataset", images, "--context", "32")).toBe(
        "gblr: --context is for language models; zoo:resnet18-gaudi is a resnet\n",
      );
    },
    PATIENCE,
  );
});

test("help has each setting once, those of one kind of model under its heading, and an example of either", async () => {
  const { stdout } = await gblr("finetune", "--help");
  const flags = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag);
  expect(new Set(flags).size).toBe(flags.length);
  const [, text, pictures] =
    /\nLanguage models:\n([\s\S]*)\nImage classifiers:\n([\s\S]*)\nMachine:\n/.exec(stdout) ?? [];
  expect(text).toContain("--context");
  expect(pictures).toMatch(/--crop[\s\S]*--mixup/);
  for (const shared of ["--epochs", "--batch", "--dataset"])
    expect(text + (pictures as string)).not.toContain(`${shared} `);
  // Fine-tuning converts nothing.
  for (const flag of ["--reorder", "--sequential", "--init", "--calibration-samples"])
    expect(flags).not.toContain(flag);
  expect(stdout.replace(/\s+/g, " ")).toContain("(default: 32 for text, 64 for images)");
  expect(stdout.split("\nExample:\n")[1]).toMatch(/gblr finetune [^\n]*gpt2[\s\S]*gblr finetune [^\n]*vit/);
});
