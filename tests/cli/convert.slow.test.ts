// `gblr convert` as a user runs it, on a small GPT-2 with a tokenizer and text that are made here: what it prints, writes
// and refuses. A real process where signals or another runtime are the point.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { addConvert } from "../../workbench/cli/convert.ts";
import type { Conversion, ConversionPlan } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { tinyModel } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { tokensOf } from "../data/text-set.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runVerb } from "./in-process.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const at = temporaryFolder();
const env = { ...process.env, HF_HOME: at("hf"), HF_HUB_OFFLINE: "1" };

const gblr = (...args: string[]) => runVerb(addConvert, ["convert", ...args]);

type Result = Conversion & { plan: ConversionPlan; files: string[]; parameters: Record<"before" | "after", number> };

async function converted(...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await gblr(at("dense"), "--engine", "cpu", "--json", ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Result;
}

const config = (folder: string) => JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8"));

const { HF_HOME, HF_HUB_OFFLINE, GBLR_CACHE } = process.env;
const kept = { HF_HOME, HF_HUB_OFFLINE, GBLR_CACHE };

beforeAll(async () => {
  Object.assign(process.env, { HF_HOME: env.HF_HOME, HF_HUB_OFFLINE: env.HF_HUB_OFFLINE, GBLR_CACHE: at("cache") });
  await openEngine({ engine: "cpu" });
  const model = tinyModel(3, { vocab_size: 300 });
  await saveModelNow(model, at("dense"));
  writeTinyTokenizer(at("dense"));
  mkdirSync(at("text"));
  const line = (i: number) => `the ${i} there and then another ${"aeiou"[i % 5]}\n`;
  writeFileSync(at("text", "train.txt"), Array.from({ length: 200 }, (_, i) => line(i * 7919)).join(""));
});

afterAll(() => {
  for (const [name, value] of Object.entries(kept)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

test("convert prints the plan, then the errors and totals, and writes a model that loads", async () => {
  const out = at("new", "gblr");
  const { code, stdout, stderr } = await gblr(at("dense"), "--structure", "gblr", "--budget", "0.5", "--out", out);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/dense → gblr, budget 50\.00 %, uniform\n/);
  expect(stdout).toMatch(/layer +becomes +in × out +cost before +after +share/);
  expect(stdout).toMatch(/h\.1\.mlp\.c_proj +gblr +64 × 16 +1\.02 k +512 +50\.0 %/);
  expect(stdout).toMatch(
    /converted layers: 67\.6 k of 135 k multiply-adds per forward pass, 50\.00 % \(budget 50\.00 %\)/,
  );
  expect(stdout).toMatch(/layer +share +error +time/);
  expect(stdout.indexOf("cost before")).toBeLessThan(stdout.indexOf("largest relative error: 0."));
  expect(stdout).toContain(`${out} (`);
  expect(stdout).not.toContain("\u001b[");
  expect(readdirSync(out)).toEqual(
    expect.arrayContaining(["config.json", "model.safetensors", "trainable.safetensors", "tokenizer.json"]),
  );
  expect(readdirSync(out).filter((name) => name.startsWith("."))).toEqual([]);
  expect(config(out).gblr).toMatchObject({
    structure: "gblr",
    budget: 0.5,
    allocation: "uniform",
    init: "svd",
    seed: 0,
  });
  for (const form of ["packed", "trainable"] as const) (await loadModelNow(out, { form })).dispose();
});

test("--flops asks for what published tables count; --widths is the published rule", async () => {
  const flops = await converted("--structure", "lowrank", "--flops", "0.6", "--out", at("flops"));
  expect(flops.counts.reference.relative).toBeLessThanOrEqual(0.6);
  expect(flops.counts.reference.relative).toBeGreaterThan(0.58);
  expect(config(at("flops")).gblr).toMatchObject({ structure: "lowrank", flops: 0.6 });
  const widths = await converted("--structure", "gblr", "--widths", "lr0.25", "--out", at("widths"));
  expect(widths.layers.map(({ nIn, nOut, cost }) => cost / (nIn + nOut))).toEqual([4, 4, 4, 4, 4, 4]);
  expect(widths.parameters.before - widths.parameters.after).toBe(
    widths.layers.reduce((saved, { dense, cost }) => saved + dense - cost, 0),
  );
});

test("--dry-run says that an allocation that needs calibration is not in the plan", async () => {
  const args = [at("dense"), "--structure", "gblr", "--budget", "0.5", "--allocate", "global", "--dry-run"];
  const later = await gblr(...args, "--init", "activation", "--calibrate", at("dense"));
  expect(later).toMatchObject({ code: 0, stderr: "" });
  expect(later.stdout).toEndWith("This plan allocates uniformly: --allocate global is decided after calibration.\n");
  expect((await gblr(...args)).stdout).not.toContain("This plan allocates uniformly");
});

test("--dry-run prints the plan and writes nothing", async () => {
  const args = [at("dense"), "--structure", "monarch", "--budget", "0.5", "--dry-run", "--out", at("dry")];
  const { code, stdout } = await gblr(...args);
  expect(code).toBe(0);
  expect(stdout).toContain("dense → monarch");
  expect(stdout).not.toContain("error");
  expect(Object.keys(JSON.parse((await gblr(...args, "--json")).stdout))).toEqual(["model", "plan"]);
  expect(existsSync(at("dry"))).toBe(false);
});

test("--calibrate with --init activation is nearer in outputs than svd, and says so; --allocate global nearer still", async () => {
  const calibrate = ["--calibrate", at("text"), "--calibrate-samples", "20", "--budget", "0.4", "--structure", "gblr"];
  const worst = ({ layers }: Result) => Math.max(...layers.map(({ outputError = Number.NaN }) => outputError));
  const svd = await converted(...calibrate, "--out", at("calibrated"));
  const aware = await converted(...calibrate, "--init", "activation", "--out", at("aware"));
  const global = await converted(...calibrate, "--init", "activation", "--allocate", "global", "--out", at("global"));
  expect(worst(aware)).toBeLessThan(worst(svd));
  expect(worst(global)).toBeLessThan(worst(aware));
  expect(aware.totals.cost).toBe(svd.totals.cost);
  expect(config(at("aware")).gblr).toMatchObject({ init: "activation", calibration: at("text") });
  expect(await gblr(at("dense"), ...calibrate, "--calibrate-context", "99", "--out", at("x"))).toEqual({
    code: 2,
    stdout: expect.any(String),
    stderr: "gblr: --calibrate-context 99 is longer than the model's 24 positions; give at most 24\n",
  });
});

test("--calibrate keeps its token ids in the workbench's one cache, where a later evaluation finds them", async () => {
  const calibrate = [
    "--calibrate",
    at("text"),
    "--calibrate-samples",
    "2",
    "--budget",
    "0.4",
    "--structure",
    "lowrank",
  ];
  await converted(...calibrate, "--out", at("cached"));
  const files = readdirSync(at("cache", "tokens"));
  expect(files).toEqual([expect.stringMatching(/^[0-9a-f]{32}\.tokens$/)]);
  expect(existsSync(at("hf", "gblr-tokens"))).toBe(false);
  const options = { dataset: at("text"), split: "train", tokenizer: at("dense"), cache: at("cache", "tokens") };
  expect((await tokensOf(options)).cached).toBe(true);
});

test("--calibrate takes a text shorter than a window, and refuses one with nothing to predict", async () => {
  const args = ["--structure", "lowrank", "--budget", "0.5", "--init", "activation", "--calibrate"];
  mkdirSync(at("short"));
  writeFileSync(at("short", "train.txt"), "the and then\n");
  await converted(...args, at("short"), "--out", at("short model"));
  mkdirSync(at("shortest"));
  writeFileSync(at("shortest", "train.txt"), "a");
  expect(await gblr(at("dense"), ...args, at("shortest"), "--out", at("x"))).toMatchObject({
    code: 1,
    stderr: "gblr: train has less than two tokens of text; give a split with more\n",
  });
});

test("--calibrate-encoding reads a text that is not UTF-8, which is refused without", async () => {
  mkdirSync(at("latin"));
  writeFileSync(at("latin", "train.txt"), Uint8Array.of(0x61, 0xe9, 0x62, 0x0a));
  const args = ["--structure", "lowrank", "--budget", "0.5", "--init", "activation", "--calibrate", at("latin")];
  expect(await gblr(at("dense"), ...args, "--out", at("x"))).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/train\.txt: is not UTF-8 at byte 1 \(0xe9\); convert it, or give its encoding, /),
  });
  await converted(...args, "--calibrate-encoding", "windows-1252", "--out", at("latin model"));
});

test("--init search, --layers and --seed do what they say", async () => {
  const search = ["--structure", "gblr", "--budget", "0.5", "--init", "search", "--search-steps", "30"];
  const { layers, init } = await converted(
    ...search,
    "--layers",
    "c_fc",
    "h.0.attn",
    "--seed",
    "4",
    "--out",
    at("search"),
  );
  expect(init).toBe("search");
  expect(layers.map(({ name }) => name)).toEqual([
    "h.0.attn.c_attn",
    "h.0.attn.c_proj",
    "h.0.mlp.c_fc",
    "h.1.mlp.c_fc",
  ]);
  for (const { cost, dense } of layers) expect(cost).toBeLessThanOrEqual(dense / 2);
});

test("a model is not replaced without --force; a compressed one is not compressed again", async () => {
  const out = at("twice");
  const args = [at("dense"), "--structure", "lowrank", "--budget", "0.5", "--out", out];
  expect((await gblr(...args)).code).toBe(0);
  writeFileSync(path.join(out, "README.md"), "mine");
  expect(await gblr(...args)).toEqual({
    code: 1,
    stdout: "",
    stderr: `gblr: ${out} already has config.json; pass --force to replace it\n`,
  });
  expect((await gblr(...args.with(2, "gblr"), "--force")).code).toBe(0);
  expect(config(out).gblr.structure).toBe("gblr");
  expect(readFileSync(path.join(out, "README.md"), "utf8")).toBe("mine");
  const again = await gblr(out, "--structure", "lowrank", "--budget", "0.5", "--out", at("again"));
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(/compressed already: h\.0\.attn\.c_attn is gblr; export it to dense first/);
  expect(existsSync(at("again"))).toBe(false);
});

test("Ctrl-C leaves nothing behind, and says so", async () => {
  const out = at("interrupted");
  const args = [
    "--structure",
    "gblr",
    "--budget",
    "0.5",
    "--init",
    "search",
    "--search-steps",
    "300",
    "--engine",
    "cpu",
  ];
  const child = Bun.spawn([process.execPath, GBLR, "convert", at("dense"), ...args, "--out", out], {
    env,
    stdout: "pipe",
    stderr: "pipe",
  });
  // The plan is there: layers are being searched.
  for await (const _ of child.stdout) break;
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await new Response(child.stderr).text()).toBe(
    "gblr: interrupted; finished layers are kept: run the same command again to resume\n",
  );
  expect(existsSync(out)).toBe(false);
});

test.each([
  [["--structure", "gblr", "--budget", "0.05"], "one block of full width of (48, 16)"],
  [
    ["--structure", "gblr", "--budget", "0.5", "--layers", "q_proj"],
    'has "q_proj" in its name; layers: h.0.attn.c_attn,',
  ],
  [["--structure", "gblr", "--flops", "0.01"], "relative FLOPs by the reference count must be above"],
  [["--structure", "gblr", "--budget", "0.5", "--calibrate", "./nowhere"], 'there is no folder "./nowhere"'],
])("what cannot be done exits 1 with one line and no folder: %j", async (args, message) => {
  const { code, stderr } = await gblr(at("dense"), ...args, "--out", at("bad"), "--json");
  expect(code).toBe(1);
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(existsSync(at("bad"))).toBe(false);
});

test("a model that is not there, and a place that cannot be a folder, are errors", async () => {
  const args = ["--structure", "gblr", "--budget", "0.5", "--out"];
  expect(await gblr("./nowhere", ...args, at("bad"))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('there is no folder "./nowhere"'),
  });
  writeFileSync(at("file"), "");
  for (const out of [at("file"), at("file", "below")]) {
    const { code, stderr } = await gblr(at("dense"), ...args, out);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gblr: .*cannot be created: a file is in the way; give another folder\n$/);
  }
});

test.each([
  [["--structure", "lowrnk", "--budget", "0.5"], "Allowed choices are gblr, lowrank"],
  [["--budget", "0.5"], "--structure"],
  [["--structure", "gblr", "--budget", "0"], "above 0 and at most 1"],
  [["--structure", "gblr", "--budget", "1.2"], "above 0 and at most 1"],
  [["--structure", "gblr", "--flops", "-1"], "above 0 and at most 1"],
  [["--structure", "gblr"], "no cost is given; give one of --budget, --flops, --sizes and --widths"],
  [["--structure", "gblr", "--budget", "0.5", "--flops", "0.5"], "--budget and --flops contradict each other"],
  [["--structure", "lowrank", "--widths", "lr0.25"], "--widths is for gblr, not lowrank"],
  [["--structure", "gblr", "--widths", "rl0.25"], 'no width rule "rl0.25"'],
  [["--structure", "gblr", "--widths", "lr0.25", "--allocate", "global"], "--widths and --allocate global"],
  [["--structure", "gblr", "--widths", "lr0.25", "--init", "search"], "--widths and --init search"],
  [
    ["--structure", "gblr", "--budget", "0.5", "--stable-blocks"],
    "--stable-blocks needs --init search and --calibrate",
  ],
  [["--structure", "gblr", "--budget", "0.5", "--init", "magic"], "Allowed choices are svd, search, activation"],
  [["--structure", "gblr", "--budget", "0.5", "--init", "activation"], "--init activation needs --calibrate"],
  [["--structure", "lowrank", "--budget", "0.5", "--init", "fwsvd"], "--init fwsvd needs --calibrate"],
  [["--structure", "gblr", "--budget", "0.5", "--allocate", "loss"], "--allocate loss needs --calibrate"],
  [["--structure", "gblr", "--widths", "lr0.5", "--allocate", "loss"], "--widths and --allocate loss contradict"],
  [["--structure", "gblr", "--budget", "0.5", "--sequential"], "--sequential needs --calibrate"],
  [["--structure", "gblr", "--budget", "0.5", "--damping", "0.1"], "--damping needs --sequential"],
  [
    ["--structure", "monarch", "--budget", "0.5", "--init", "search"],
    "init search is for gblr, the structure is monarch",
  ],
  [["--structure", "gblr", "--budget", "0.5", "--calibrate-split", "test"], "--calibrate-split needs --calibrate"],
  [["--structure", "gblr", "--budget", "0.5", "--seed", "-1"], "whole number from 0"],
  [["--structure", "gblr", "--budget", "0.5", "--engine", "abacus"], "Allowed choices are auto, torch"],
])("bad usage exits 2 with one line: %j", async (args, named) => {
  const { code, stdout, stderr } = await gblr(at("dense"), ...args, "--out", at("bad"));
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(named);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});

test("--out may be left out of a dry run only", async () => {
  expect(await gblr(at("dense"), "--structure", "gblr", "--budget", "0.5")).toMatchObject({
    code: 2,
    stderr: "gblr: --out is missing; give a folder for the model, or --dry-run to see the plan only\n",
  });
  expect((await gblr(at("dense"), "--structure", "gblr", "--budget", "0.5", "--dry-run")).code).toBe(0);
});

const deno = path.join(import.meta.dir, "../../node_modules/.bin/deno");

test.skipIf(!existsSync(deno))("convert runs under Deno too", async () => {
  const args = ["--structure", "gblr", "--budget", "0.5", "--engine", "wasm", "--out", at("deno"), "--json"];
  const { exitCode, stdout, stderr } = Bun.spawnSync([deno, "run", "-A", GBLR, "convert", at("dense"), ...args], {
    env,
  });
  expect({ code: exitCode, stderr: stderr.toString() }).toEqual({ code: 0, stderr: "" });
  const { layers } = JSON.parse(stdout.toString()) as Result;
  const expected = (await converted("--structure", "gblr", "--budget", "0.5", "--out", at("deno twin"))).layers;
  for (const [i, { name, cost, error }] of layers.entries()) {
    expect({ name, cost }).toEqual({ name: expected[i]?.name as string, cost: expected[i]?.cost as number });
    expect(error).toBeCloseTo(expected[i]?.error as number, 4);
  }
});
