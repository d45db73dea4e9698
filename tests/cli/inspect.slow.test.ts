// `gblr inspect` as a user runs it: every form of a model gives the reference's counts, and the picture is drawn. What it
// refuses is in inspect-refusals.test.ts.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { writeSafetensors } from "../../hub/safetensors/index.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { readGolden } from "../golden.ts";
import { decodePng } from "../report/decode-png.ts";
import { at, config, GBLR, inspected, makeModels, REFERENCE, removeModels, run, zeros } from "./inspect-models.ts";

beforeAll(makeModels);
afterAll(removeModels);

test("a reference checkpoint costs what the reference counts, layer by layer", () => {
  const golden = readGolden("checkpoint/tiny-gpt2-gaudi.masked.safetensors");
  const found = inspected(REFERENCE).layers.filter(({ structure }) => structure === "gblr");
  expect(found).toHaveLength(6);
  for (const { name, cost, share, nIn, nOut, equalCostRank, blocks } of found) {
    expect(cost).toBe(golden.get(`${name}.num_params`).values[0] as number);
    expect(share).toBeCloseTo(cost / (nIn * nOut), 12);
    expect(equalCostRank).toBeCloseTo(cost / (nIn + nOut), 12);
    const weight = golden.get(`${name}.masked_weight`);
    expect(weight.shape).toEqual([nOut, nIn]);
    // Random factors: an entry is 0 where no block covers it and nowhere else.
    const zeros = weight.values.filter((value) => value === 0).length;
    expect(blocks?.uncovered).toBeCloseTo(zeros / weight.values.length, 12);
  }
});

test("packed, sharded and trainable folders and the bare file give the same numbers", () => {
  const { layers: expected, totals, embeddings } = inspected(REFERENCE);
  for (const model of ["packed", "sharded", "trainable", "packed/model.safetensors"]) {
    const found = inspected(at(model));
    expect(found).toEqual({ model: at(model), layers: expected, totals, embeddings });
  }
  expect(existsSync(at("sharded", "model.safetensors.index.json"))).toBe(true);
});

test("a model on the Hub gives the numbers of its folder, and its weights stay there", () => {
  const { layers, totals, embeddings } = inspected(REFERENCE);
  for (const form of ["packed", "sharded", "trainable"]) {
    cpSync(at(form), at("hub/models/tiny", form), { recursive: true });
    expect(inspected(`tiny/${form}`)).toEqual({ model: `tiny/${form}`, layers, totals, embeddings });
  }
  const cached = readdirSync(at("huggingface"), { recursive: true, encoding: "utf8" });
  expect(cached.filter((file) => file.endsWith("config.json"))).toHaveLength(3);
  expect(cached.filter((file) => file.endsWith(".safetensors"))).toEqual([]);
});

test("dense layers count in full, totals add up, and embedding tables stand apart", () => {
  const { layers: found, totals, embeddings } = inspected(at("packed"));
  const dense = found.filter(({ structure }) => structure === "dense");
  expect(dense.map(({ name, nIn, nOut, cost }) => [name, nIn, nOut, cost])).toEqual([
    ["model.lm_head", 16, 40, 640],
    ["model.transformer.h.0.attn.c_proj", 16, 16, 256],
    ["model.transformer.h.1.attn.c_proj", 16, 16, 256],
  ]);
  const structured = 482 + 739 + 544 + 497 + 687 + 480;
  const full = 2 * (16 * 48 + 2 * 16 * 64);
  expect(totals.structured).toEqual({ layers: 6, cost: structured, dense: full, share: structured / full });
  expect(totals.all).toMatchObject({ layers: 9, cost: structured + 1152, dense: full + 1152 });
  expect(embeddings).toEqual(["model.transformer.wpe.weight", "model.transformer.wte.weight"]);
});

test("a dense GPT-2 has its sizes the right way round, by the number of its biases", async () => {
  const content = new Map([
    ["h.10.mlp.c_fc.weight", zeros(8, 32)],
    ["h.10.mlp.c_fc.bias", zeros(32)],
    ["h.2.mlp.c_fc.weight", zeros(32, 8)],
    ["h.2.mlp.c_fc.bias", zeros(32)],
    ["conv.weight", zeros(6, 4, 3, 3)],
    ["wte.weight", zeros(50, 8)],
    ["h.2.attn.bias", zeros(1, 1, 8, 8)],
  ]);
  await writeSafetensors(at("dense.safetensors"), sourcesOf(content));
  const { layers: found, embeddings } = inspected(at("dense.safetensors"));
  expect(found.map(({ name, nIn, nOut, share }) => [name, nIn, nOut, share])).toEqual([
    ["conv", 36, 6, 1],
    ["h.2.mlp.c_fc", 8, 32, 1],
    ["h.10.mlp.c_fc", 8, 32, 1],
  ]);
  expect(embeddings).toEqual(["wte.weight"]);
});

test("other structures are counted from their shapes, by the name that config.json gives", async () => {
  const content = new Map([
    ["a.left", zeros(24, 3)],
    ["a.right", zeros(3, 16)],
    ["b.first", zeros(16, 2, 4)],
    ["b.second", zeros(24, 4, 2)],
  ]);
  mkdirSync(at("others"));
  await writeSafetensors(at("others", "model.safetensors"), sourcesOf(content));
  const sizes = { n_in: 16, n_out: 24 };
  const settings = { structure: "monarch", layers: { a: { ...sizes, structure: "lowrank" }, b: sizes } };
  writeFileSync(at("others", "config.json"), config(settings));
  expect(inspected(at("others")).layers.map(({ structure, cost }) => [structure, cost])).toEqual([
    ["lowrank", 3 * (24 + 16)],
    ["monarch", 4 * 4 * 2 * (6 + 4)],
  ]);
});

test("the table keeps to 100 columns, without color in a pipe", () => {
  const { code, stdout, stderr } = run(at("packed"));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.split("\n").slice(1);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(stdout).not.toContain("\u001b");
  expect(
    lines.filter((line) => /h\.\d\.\S+ +gblr +\d+ × \d+ +\d+\/16 +[·▁▂▃▄▅▆▇█]{8} +[·▁▂▃▄▅▆▇█]{8} /.test(line)),
  ).toHaveLength(6);
  expect(stdout).toContain("structured layers: 6, 3.43 k of 5.63 k multiply-adds per row, 60.9 %");
});

test("--layer takes a part of the name, with * for any characters", () => {
  const names = (pattern: string) => inspected(at("packed"), "--layer", pattern).layers.map(({ name }) => name);
  expect(names("h.1.*c_proj")).toEqual(["model.transformer.h.1.attn.c_proj", "model.transformer.h.1.mlp.c_proj"]);
  expect(names("c_fc")).toEqual(["model.transformer.h.0.mlp.c_fc", "model.transformer.h.1.mlp.c_fc"]);
  expect(run(at("packed"), "--layer", "h.0|h.1")).toMatchObject({ code: 1, stdout: "" });
});

test("--plot draws one panel a GBLR matrix, as PNG and as SVG", () => {
  const picture = at("layout.png");
  expect(inspected(at("packed"), "--plot", picture).plot).toBe(picture);
  const { width, height } = decodePng(new Uint8Array(readFileSync(picture)));
  expect(width).toBeGreaterThan(1000);
  expect(height).toBeGreaterThan(1000);
  expect(run(at("trainable"), "--plot", at("layout.svg"), "--layer", "c_fc").stdout).toContain("layout.svg");
  const svg = readFileSync(at("layout.svg"), "utf8");
  expect(svg.match(/c_fc<\/text>/g)).toHaveLength(2);
  expect(svg).toContain("72.2 %");
  expect(svg.match(/<image /g)).toHaveLength(3);
});

test("a Gaussian that config.json names widens the spans", () => {
  cpSync(at("trainable"), at("smooth"), { recursive: true });
  writeFileSync(at("smooth", "config.json"), config({ sigma: 2 }));
  const [smooth, sharp] = [inspected(at("smooth")), inspected(at("trainable"))];
  expect(smooth.totals.structured.cost).toBeGreaterThan(sharp.totals.structured.cost);
});

const deno = path.join(import.meta.dir, "../../node_modules/.bin/deno");

test.skipIf(!existsSync(deno))("inspect draws the same picture under Deno", () => {
  const args = ["run", "-A", GBLR, "inspect", at("packed"), "--json", "--plot"];
  const { stdout, exitCode } = Bun.spawnSync([deno, ...args, at("deno.png")], { stderr: "inherit" });
  expect(exitCode).toBe(0);
  const ours = inspected(at("packed"), "--plot", at("bun.png"));
  expect({ ...JSON.parse(stdout.toString()), plot: ours.plot }).toEqual(ours);
  expect(readFileSync(at("deno.png")).equals(readFileSync(at("bun.png")))).toBe(true);
});
