// `gblr eval acc` on folders of images: the table, the document for machines, the report, and what is refused.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addEval } from "../../workbench/cli/eval.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { madeImages } from "../data/images/made-images.ts";
import { runVerb } from "./in-process.ts";

setDefaultTimeout(60_000);

const root = mkdtempSync(join(tmpdir(), "gblr-eval-acc-"));
const model = join(root, "model");
let dataset: string;
const cacheBefore = process.env.GBLR_CACHE;
beforeAll(async () => {
  process.env.GBLR_CACHE = join(root, "cache");
  await openEngine({ engine: "wasm" });
  const made = smallVit();
  await saveModelNow(made as never, model, {});
  made.dispose();
  dataset = (await madeImages(join(root, "five"), { count: 15, classes: 5 })).dataset;
});
afterAll(() => {
  if (cacheBefore === undefined) delete process.env.GBLR_CACHE;
  else process.env.GBLR_CACHE = cacheBefore;
  rmSync(root, { recursive: true });
});

const run = (...args: string[]) =>
  runVerb(addEval, ["eval", "acc", model, "--engine", "wasm", "--workers", "1", ...args]);

test("prints top-1, top-5, images a second and FLOPs, for people and for machines, and writes a report", async () => {
  const report = join(root, "report");
  const table = await run("--dataset", dataset, "--split", "train", "--report", report);
  expect([table.code, table.stderr]).toEqual([0, ""]);
  for (const part of ["top-1", "top-5", "100.0 %", "nats an image", "FLOPs", "images/s on wasm cpu, float32"])
    expect(table.stdout).toContain(part);
  const json = await run("--dataset", dataset, "--split", "train", "--json", "--batch", "4");
  const result = JSON.parse(json.stdout);
  expect(result).toMatchObject({
    split: "train",
    images: 15,
    skipped: 0,
    classes: 5,
    top5: 1,
    size: 16,
    engine: "wasm",
  });
  const correct = result.confusions.filter((pair: { class: string; taken: string }) => pair.class === pair.taken);
  const sum = (pairs: { images: number }[]) => pairs.reduce((total, { images }) => total + images, 0);
  expect(sum(result.confusions)).toBe(15);
  expect(sum(correct) / 15).toBeCloseTo(result.top1, 12);
  const written = JSON.parse(readFileSync(join(report, "classification.json"), "utf8"));
  expect(written.classes).toEqual(["class-000", "class-001", "class-002", "class-003", "class-004"]);
  expect(written.splits.train.top1).toBe(result.top1);
  const page = readFileSync(join(report, "report.html"), "utf8");
  expect(page).toContain("class-003");
  const sections = [...page.matchAll(/<section aria-labelledby="([^"]+)"/g)].map(([, id]) => id);
  expect(sections).toEqual(["comparison", "classes", "facts", "environment"]);
  expect(page).not.toContain("yet");
});

test("resizes as the checkpoint says, or as is asked for instead", async () => {
  const transformOf = async (...args: string[]) =>
    JSON.parse((await run("--dataset", dataset, "--split", "train", "--json", ...args)).stdout).transform;
  expect(await transformOf()).toEqual({
    kind: "evaluate",
    cropShare: 0.9,
    cropMode: "center",
    interpolation: "bicubic",
  });
  const border = [128, 128, 128];
  expect(await transformOf("--crop-mode", "border", "--crop", "1")).toMatchObject({ cropMode: "border", border });
  const table = await run("--dataset", dataset, "--split", "train", "--crop-mode", "squash");
  expect(table.stdout).toContain("at 16, squash, crop 0.9, bicubic");
});

test("numbers a data set's classes as the model does, also where some are missing", async () => {
  const three = await madeImages(join(root, "subset"), { count: 6, classes: 3 });
  const names = [0, 1, 2, 3, 4].map((i) => `class-00${i}`);
  const confused = async (label_names: string[]) => {
    const made = smallVit({ ...VIT, label_names });
    const folder = mkdtempSync(join(root, "named-"));
    await saveModelNow(made as never, folder, {});
    made.dispose();
    const args = ["eval", "acc", folder, "--engine", "wasm", "--workers", "0", "--split", "train", "--json"];
    const { code, stdout, stderr } = await runVerb(addEval, [...args, "--dataset", three.dataset]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout).confusions as { class: string; taken: string; images: number }[];
  };
  const [plain, turned] = [await confused(names), await confused(names.toReversed())];
  const images = (rows: typeof plain) =>
    names.map((name) => rows.reduce((sum, row) => sum + (row.class === name ? row.images : 0), 0));
  expect([images(plain), images(turned)]).toEqual([
    [2, 2, 2, 0, 0],
    [2, 2, 2, 0, 0],
  ]);
  // The same network with its outputs called otherwise takes each image for the class of the other name.
  const other = (name: string) => names.toReversed()[names.indexOf(name)] as string;
  const pairs = (rows: typeof plain) => rows.map((row) => `${row.class} ${row.taken} ${row.images}`).sort();
  expect(pairs(turned)).toEqual(pairs(plain.map((row) => ({ ...row, taken: other(row.taken) }))));
});

test("sees images of another size with a vision transformer's positions interpolated", async () => {
  const large = await run("--dataset", dataset, "--split", "train", "--size", "24", "--json");
  expect(large.stderr).toBe("");
  const [larger, own] = [large, await run("--dataset", dataset, "--split", "train", "--json")].map(({ stdout }) =>
    JSON.parse(stdout),
  );
  expect([larger.size, larger.images, own.size]).toEqual([24, 15, 16]);
  expect(Math.abs(larger.loss - own.loss)).toBeLessThan(1);
});

test("refuses in one line: no such split, other classes, no images, an image of zero size unless it is skipped", async () => {
  const refused = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout, stderr.trim().split("\n").length]).toEqual([1, "", 1]);
    return stderr;
  };
  expect(await refused("--dataset", dataset, "--split", "test")).toContain('has no split "test"; available: train');
  const three = await madeImages(join(root, "three"), { count: 3, classes: 3 });
  expect(await refused("--dataset", three.dataset, "--split", "train")).toContain(
    "has 3 classes and the model's head 5",
  );
  const empty = mkdtempSync(join(root, "empty-"));
  expect(await refused("--dataset", empty, "--split", "train")).toContain("has no images");
  const holed = await madeImages(join(root, "holed"), { count: 5, classes: 5 });
  writeFileSync(holed.nameOf(2), "");
  const message = await refused("--dataset", holed.dataset, "--split", "train");
  expect(message).toContain(`${holed.nameOf(2)}: is empty, 0 bytes`);
  const skipped = await run("--dataset", holed.dataset, "--split", "train", "--skip-bad");
  expect([skipped.code, skipped.stdout.includes("skipped")]).toEqual([0, true]);
  expect((await run("--dataset", dataset, "--crop", "1.5")).code).toBe(2);
  const taken = holed.nameOf(0);
  const unkept = await refused(
    "--dataset",
    join(root, "nowhere"),
    "--split",
    "train",
    "--report",
    join(taken, "report"),
  );
  expect(unkept).toContain(`${join(taken, "report")}: cannot be created`);
});
