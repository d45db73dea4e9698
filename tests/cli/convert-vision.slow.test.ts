// `gblr convert`, `inspect` and `export` on small vision models: convolutions whole, position by position and as Tucker-2,
// packed attention weights, calibration on images.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import sharp from "sharp";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { addInspect } from "../../workbench/cli/inspect.ts";
import type { Conversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import type { Inspection } from "../../workbench/report/describe-model.ts";
import { logitsOf, smallResnet, smallVit, someImages } from "../architectures/small-vision.ts";
import { deepGray } from "../data/images/deep-gray.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";

const at = temporaryFolder();
runOffline(at("cache"));

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  for (const [name, model] of Object.entries<Model>({ resnet: smallResnet() as Model, vit: smallVit() as Model })) {
    await saveModelNow(model, at(name));
    model.dispose();
  }
  for (const [label, red] of [
    ["dark", 40],
    ["light", 220],
  ] as const) {
    mkdirSync(at("images", "train", label), { recursive: true });
    for (let i = 0; i < 4; i++) {
      const background = { r: red, g: 40 * i, b: 200 - 40 * i };
      const image = sharp({ create: { width: 24, height: 20, channels: 3, background } });
      await image.png().toFile(at("images", "train", label, `${i}.png`));
    }
  }
});

async function json<T>(add: Parameters<typeof runVerb>[0], ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await runVerb(add, [...args, "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as T;
}

const convert = (model: string, out: string, ...args: string[]) =>
  json<Conversion>(addConvert, "convert", at(model), "--engine", "wasm", "--out", at(out), ...args);

const dense = (model: string, out: string) =>
  json(addExport, "export", at(model), "--engine", "wasm", "--to", "dense", "--out", at(out));

async function logits(folder: string): Promise<Float32Array> {
  const model = await loadModelNow(at(folder));
  const images = someImages(2, folder.startsWith("vit") ? 16 : 24);
  const values = await logitsOf(model, images);
  images.dispose();
  model.dispose();
  return values;
}

const WAYS: [string, string[], number, string][] = [
  ["resnet-whole", ["--structure", "gblr", "--budget", "0.5"], 4, "gblr"],
  ["resnet-per-kernel", ["--structure", "gblr", "--budget", "0.8", "--convolutions", "per-kernel"], 36, "gblr"],
  ["resnet-tucker", ["--structure", "tucker", "--budget", "0.4"], 4, "tucker"],
  ["vit-gblr", ["--structure", "gblr", "--flops", "0.6"], 10, "gblr"],
];

for (const [out, args, count, structure] of WAYS) {
  test(`${out} is converted, inspected at what it was said to cost, and dense again under the checkpoint's names`, async () => {
    const source = out.slice(0, out.indexOf("-"));
    const conversion = await convert(source, out, ...args);
    expect(conversion.layers.length).toBe(count);
    const { layers } = await json<Inspection>(addInspect, "inspect", at(out));
    const found = layers.filter((layer) => layer.structure === structure);
    expect(Object.fromEntries(found.map(({ name, cost }) => [name, cost]))).toEqual(
      Object.fromEntries(conversion.layers.map(({ name, cost }) => [name, cost])),
    );
    await dense(out, `${out}-dense`);
    const [before, after] = [await logits(out), await logits(`${out}-dense`)];
    for (const [i, value] of before.entries()) expect(after[i]).toBeCloseTo(value, 4);
    const names = async (folder: string) =>
      (await json<Inspection>(addInspect, "inspect", at(folder))).layers.map(({ name }) => name);
    expect(await names(`${out}-dense`)).toEqual(await names(source));
  });
}

test("images calibrate a classifier, text does not", async () => {
  const images = ["--init", "activation", "--calibrate", at("images"), "--calibrate-samples", "6"];
  for (const [source, extra] of [
    ["vit", []],
    ["resnet", ["--convolutions", "per-kernel", "--allocate", "global"]],
  ] as const) {
    const { layers } = await convert(
      source,
      `${source}-seen`,
      "--structure",
      "lowrank",
      "--budget",
      "0.6",
      ...images,
      ...extra,
    );
    expect(layers.every(({ outputError }) => outputError !== undefined)).toBe(true);
  }
  const asked = ["convert", at("vit"), "--structure", "gblr", "--budget", "0.5", "--out", at("x"), ...images];
  const { code, stderr } = await runVerb(addConvert, [...asked, "--calibrate-context", "8"]);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: "gblr: --calibrate-context is for language models, but this is an image classifier; leave it out\n",
  });
});

test("an image that cannot be decoded is left out of a calibration and told", async () => {
  cpSync(at("images"), at("holed"), { recursive: true });
  writeFileSync(at("holed", "train", "dark", "0.png"), "no image");
  const asked = ["convert", at("vit"), "--engine", "wasm", "--structure", "lowrank", "--budget", "0.6", "--json"];
  const { code, stderr } = await runVerb(addConvert, [
    ...[...asked, "--out", at("vit-holed")],
    ...["--init", "activation", "--calibrate", at("holed"), "--calibrate-samples", "8"],
  ]);
  const told = `gblr: 1 of 8 images skipped; the first is ${at("holed", "train", "dark", "0.png")}: cannot be decoded: `;
  expect([code, stderr.slice(0, told.length), stderr.trim().split("\n").length]).toEqual([0, told, 1]);
});

test("16 bit grayscale that loses levels is told of in a calibration", async () => {
  cpSync(at("images"), at("gray"), { recursive: true });
  const file = at("gray", "train", "dark", "0.png");
  writeFileSync(file, deepGray());
  const asked = ["convert", at("vit"), "--engine", "wasm", "--structure", "lowrank", "--budget", "0.6", "--json"];
  const calibrating = ["--init", "activation", "--calibrate", at("gray"), "--calibrate-samples", "8"];
  const { code, stderr } = await runVerb(addConvert, [...asked, "--out", at("vit-gray"), ...calibrating]);
  const told = `gblr: 1 image is 16-bit grayscale, and values above 255 were clipped, as in Pillow; the first is ${file}\n`;
  expect({ code, stderr }).toEqual({ code: 0, stderr: told });
});

test("a folder of images without classes calibrates too", async () => {
  cpSync(at("images", "train", "dark"), at("flat"), { recursive: true });
  const asked = ["--structure", "lowrank", "--budget", "0.6", "--init", "activation", "--calibrate", at("flat")];
  const { layers } = await convert("vit", "vit-flat", ...asked);
  expect(layers.every(({ outputError }) => outputError !== undefined)).toBe(true);
});

test("what contradicts is refused in one line", async () => {
  for (const [args, status, text] of [
    [["resnet", "--structure", "tucker", "--budget", "0.5", "--convolutions", "per-kernel"], 2, "choose one"],
    [["vit", "--structure", "tucker", "--budget", "0.5"], 1, "tucker is for convolutions, blocks.0.attn.q_proj"],
    [
      ["vit", "--structure", "gblr", "--budget", "0.5", "--convolutions", "per-kernel"],
      1,
      "per kernel is for convolutions",
    ],
  ] as const) {
    const [model, ...rest] = args;
    const { code, stderr } = await runVerb(addConvert, ["convert", at(model), ...rest, "--dry-run"]);
    expect(code).toBe(status);
    expect(stderr).toContain(text);
    expect(stderr.trim().split("\n").length).toBeLessThanOrEqual(2);
  }
});
