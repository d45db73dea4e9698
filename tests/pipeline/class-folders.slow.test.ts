// Experiments on class folders as people have them: numbers, and names that are properties of objects. As processes: what is
// decided is told, and the folder of the model says the classes in their order.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Classification } from "../../workbench/report/index.ts";
import { deepGray } from "../data/images/deep-gray.ts";
import { plainImage } from "../data/images/image-sets.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, type Ran, ROOT, run } from "./tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
const RECIPE = join(ROOT, "recipes/vit-s-cifar10.ts");
const QUICK = [
  ...["--model", "scratch:vit_tiny_patch4_16", "--width", "16", "--blocks", "1", "--heads", "2", "--size", "16"],
  ...["--structure", "lowrank", "--budget", "0.5", "--mixup", "0", "--cutmix", "0", "--hold-out", "0.25"],
  ...[
    "--batch",
    "8",
    "--micro-batch",
    "8",
    "--steps",
    "2",
    "--warmup-epochs",
    "0.5",
    "--engine",
    "wasm",
    "--workers",
    "0",
  ],
];
let place: { hub: string; work: string };
const at = (...names: string[]) => join(place.work, ...names);
const read = <T>(...names: string[]): T => JSON.parse(readFileSync(at(...names), "utf8")) as T;

async function images(name: string, classes: readonly string[]): Promise<string> {
  for (const split of ["train", "test"]) {
    for (const [i, label] of classes.entries()) {
      mkdirSync(folder(name, split, label), { recursive: true });
      writeFileSync(folder(name, split, label, "1.png"), await plainImage(i));
    }
  }
  return folder(name);
}

const recipe = (dataset: string, ...args: string[]): Promise<Ran> =>
  run(RECIPE, ["--dataset", dataset, ...QUICK, ...args], place);

beforeAll(() => {
  place = { hub: folder("hub"), work: folder("work") };
  for (const path of Object.values(place)) mkdirSync(path);
});

describe("class folders that are numbers", () => {
  const ELEVEN = Array.from({ length: 11 }, (_, i) => String(i));
  let dataset: string;
  beforeAll(async () => {
    dataset = await images("numbers", ELEVEN);
    writeFileSync(folder("numbers", "test", "4", "1.png"), deepGray());
  });

  test(
    "are the numbers of the classes, which is told, and so are levels that were lost",
    async () => {
      const { code, stderr } = await recipe(dataset, "--run", "number");
      expect(stderr.trim().split("\n")).toEqual([
        "gblr: classes of train are numbered by their names, which are numbers; --class-order text sorts them as text, as torchvision does",
        `gblr: test: 1 image is 16-bit grayscale, and values above 255 were clipped, as in Pillow; the first is ${folder("numbers", "test", "4", "1.png")}`,
      ]);
      expect(code).toBe(0);
      expect(read<{ label_names: string[] }>("number/model/config.json").label_names).toEqual(ELEVEN);
      expect(read<Classification>("number/classification.json").classes).toEqual(ELEVEN);
    },
    PATIENCE,
  );

  test(
    "are sorted as text where that is asked for, and a model that was trained so is measured so",
    async () => {
      const sorted = [...ELEVEN].sort();
      const { code, stderr } = await recipe(dataset, "--run", "text", "--class-order", "text");
      expect({ code, told: stderr.includes("numbered") }).toEqual({ code: 0, told: false });
      expect(read<{ label_names: string[] }>("text/model/config.json").label_names).toEqual(sorted);
      const { test: measured } = read<Classification>("text/classification.json").splits;
      const args = ["eval", "acc", "text/model", "--dataset", dataset, "--engine", "wasm", "--json"];
      const { stdout } = await run(GBLR, args, place);
      expect(JSON.parse(stdout).loss).toBeCloseTo(measured?.loss as number, 6);
      const refused = await recipe(dataset, "--run", "refused", "--class-order", "size");
      expect([refused.code, refused.stderr.includes("--class-order")]).toEqual([2, true]);
    },
    PATIENCE,
  );
});

test(
  "class folders may be called as properties of every object, for a new head too",
  async () => {
    const names = ["__proto__", "constructor", "toString", "valueOf"];
    const dataset = await images("properties", names);
    const first = await recipe(dataset, "--run", "properties");
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: "" });
    expect(read<{ label_names: string[] }>("properties/model/config.json").label_names).toEqual(names);
    const tuned = await run(
      GBLR,
      [
        ...["finetune", "properties/model", "--dataset", dataset, "--new-head", "--run", "tuned", "--engine", "wasm"],
        ...["--batch", "4", "--micro-batch", "4", "--steps", "1", "--workers", "0", "--validation-split", "test"],
      ],
      place,
    );
    expect({ code: tuned.code, stderr: tuned.stderr }).toEqual({ code: 0, stderr: "" });
    expect(read<Classification>("tuned/classification.json").classes).toEqual(names);
    expect(readFileSync(at("tuned/report.html"), "utf8")).toContain("valueOf");
  },
  PATIENCE,
);
