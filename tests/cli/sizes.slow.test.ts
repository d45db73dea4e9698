// Models of several sizes as a user makes and cuts them: gblr convert --sizes, and --keep of export, eval ppl and serve.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addEval } from "../../workbench/cli/eval.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { addInspect } from "../../workbench/cli/inspect.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveSized } from "../compress/sizes/sized.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";
import { GBLR, ROOT, RUNTIMES } from "./runtimes.ts";
import { writeTinySources } from "./tiny-sources.ts";

setDefaultTimeout(240_000);

const at = temporaryFolder();
const ENGINE = ["--engine", "wasm"];
runOffline(at("cache"));

const convert = (...args: string[]) => runVerb(addConvert, ["convert", at("dense"), ...args, ...ENGINE]);
const exported = (...args: string[]) => runVerb(addExport, ["export", ...args, ...ENGINE]);

async function perplexity(...args: string[]): Promise<number> {
  const evaluated = ["--dataset", at("text"), "--context", "24", "--limit", "20", "--json"];
  const { code, stdout, stderr } = await runVerb(addEval, ["eval", "ppl", ...args, ...evaluated, ...ENGINE]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return (JSON.parse(stdout) as { perplexity: number }).perplexity;
}

const config = (folder: string) => JSON.parse(readFileSync(at(folder, "config.json"), "utf8"));

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  await writeTinySources(at, ["train", "test"]);
});

test("one conversion makes a folder of many sizes, with its perplexities on the card", async () => {
  const data = ["--calibrate", at("text"), "--check", at("text"), "--check-samples", "20", "--check-context", "24"];
  const args = ["--structure", "lowrank", "--init", "activation", "--sizes", "0.3..0.8", ...data];
  const { code, stdout, stderr } = await convert(...args, "--out", at("sizes"));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("dense → lowrank, sizes 30.00 %, 40.00 %, 50.00 %");
  expect(stdout).toMatch(/perplexity by size: 30\.0 %: [\d.]+, 40\.0 %: [\d.]+, 50\.0 %:/);
  expect(config("sizes").gblr.sizes).toMatchObject({ version: 1, sizes: [0.3, 0.4, 0.5, 0.6, 0.7, 0.8] });
  const card = readFileSync(at("sizes", "README.md"), "utf8");
  expect(card).toContain("## Sizes\n");
  expect(card).toContain("gblr export . --keep 0.8 --out cut");
  expect(card).toContain("![perplexity by size](sizes.png)");
  expect(readdirSync(at("sizes"))).toContain("sizes.png");

  // The value on the card is that of a cut.
  const [, shown] = /\| 50\.0 % \| ([\d.]+) \|/.exec(card) ?? [];
  expect(Number(shown)).toBeCloseTo(await perplexity(at("sizes"), "--keep", "0.5"), 1);
});

test("export --keep writes an ordinary folder within the size, which evaluates as the folder of all sizes does", async () => {
  const { code, stdout, stderr } = await exported(at("sizes"), "--keep", "0.45", "--out", at("cut"));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("layers kept as structured");
  const { gblr } = config("cut");
  expect(gblr).not.toHaveProperty("sizes");
  expect(gblr.budget).toBe(0.45);
  const layers = Object.values(gblr.layers) as { n_in: number; n_out: number; shapes: Record<string, number[]> }[];
  const kept = layers.flatMap(({ shapes }) => Object.values(shapes)).reduce((sum, [a = 0, b = 0]) => sum + a * b, 0);
  const dense = layers.reduce((sum, { n_in, n_out }) => sum + n_in * n_out, 0);
  expect(kept).toBeLessThanOrEqual(0.45 * dense);
  expect(await perplexity(at("cut"))).toBe(await perplexity(at("sizes"), "--keep", "0.45"));
});

test("inspect says to which sizes a model can be cut, and nothing of sizes about a cut", async () => {
  const inspected = async (...args: string[]) => (await runVerb(addInspect, ["inspect", ...args])).stdout;
  expect(await inspected(at("sizes"))).toContain("\nsizes: 30.0 % to 80.0 % of the dense layers; ");
  expect(JSON.parse(await inspected(at("sizes"), "--json")).sizes).toEqual([0.3, 0.8]);
  expect(await inspected(at("cut"))).not.toContain("sizes");
  expect(JSON.parse(await inspected(at("cut"), "--json"))).not.toHaveProperty("sizes");
});

test("a broken record is refused by --keep alone", async () => {
  cpSync(at("sizes"), at("broken"), { recursive: true });
  for (const sizes of [7, { version: 1, sizes: [] }, { version: 2, sizes: "all" }]) {
    const { gblr, ...rest } = config("sizes");
    writeFileSync(at("broken", "config.json"), JSON.stringify({ ...rest, gblr: { ...gblr, sizes } }));
    expect((await runVerb(addInspect, ["inspect", at("broken")])).code).toBe(0);
    expect((await exported(at("broken"), "--keep", "0.5", "--out", at("none"))).stderr).toContain('"gblr.sizes');
  }
});

test("serve --keep names the model with its size", async () => {
  const [program, ...before] = RUNTIMES.bun as readonly [string, ...string[]];
  const args = ["serve", at("sizes"), "--keep", "0.5", "--port", "0", "--json", ...ENGINE];
  const child = spawn(program, [...before, GBLR, ...args], { cwd: ROOT });
  const exited = once(child, "exit");
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const { url, models } = JSON.parse(line) as { url: string; models: string[] };
  expect(models).toEqual([`${at("sizes")}@0.5`]);
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toEqual(models);
  child.kill("SIGTERM");
  await exited;
});

test.each([
  [["--keep", "0.9"], "the model has sizes from 0.3 to 0.8, not 0.9; give --keep in this range"],
  [[], "--to is missing; give one of dense, packed, reference, onnx, gguf, peft"],
  [["--keep", "0.5", "--to", "reference"], "--keep cuts packed layers"],
])("export %p is refused in one line", async (args, reason) => {
  const { code, stderr } = await exported(at("sizes"), ...args, "--out", at("none"));
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(reason);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
});

test("a cut in int8 with layers in float32 says that all sizes can be stored in int8 instead, and they can", async () => {
  await saveSized(at("blocks"), "gblr", "search");
  const int8 = ["--to", "packed", "--dtype", "int8"];
  const cut = await exported(at("blocks"), ...int8, "--keep", "0.5", "--out", at("blocks cut"));
  expect(cut.code).toBe(0);
  expect(cut.stderr).toMatch(
    /stored in float32, because [^\n]*; export without --keep to store all sizes in int8, [^\n]*\n$/,
  );
  const whole = await exported(at("blocks"), ...int8, "--out", at("blocks int8"));
  expect(whole).toMatchObject({ code: 0, stderr: "" });
  expect(await exported(at("blocks int8"), "--keep", "0.5", "--out", at("again"))).toMatchObject({
    code: 0,
    stderr: "",
  });
});

test("a cut is not written over the model of several sizes", async () => {
  const { code, stderr } = await exported(at("sizes"), "--keep", "0.5", "--out", `${at("sizes")}/`, "--force");
  expect(code).toBe(2);
  expect(stderr).toContain("is the model of several sizes, of which one would be left; give another folder");
  expect(config("sizes").gblr.sizes).toBeDefined();
});

test("--keep of a folder of one size is refused, and says how to make one of several", async () => {
  const { code, stderr } = await exported(at("dense"), "--keep", "0.5", "--out", at("none"));
  expect(code).toBe(1);
  expect(stderr).toBe(
    `gblr: ${at("dense", "config.json")}: has no "gblr.sizes", so that the model has one size; make one with \`gblr convert --sizes 0.2..0.8\`\n`,
  );
});

test.each([
  [["--structure", "monarch", "--sizes", "0.2..0.8"], "--sizes is for gblr and lowrank, not monarch"],
  [["--structure", "gblr", "--sizes", "0.2..0.8"], "--sizes of gblr needs --init search, not svd"],
  [["--structure", "gblr", "--sizes", "0.2..0.8", "--init", "search"], "--sizes of gblr needs --calibrate"],
  [["--structure", "lowrank", "--sizes", "0.8..0.2"], "It must be two shares, the smaller one first"],
  [["--structure", "lowrank", "--sizes", "0.2..0.2000001"], "The shares must differ by more than 1e-6"],
  [["--structure", "lowrank", "--sizes", "0.0000001..0.5"], "The shares must differ by more than 1e-6"],
  [["--structure", "lowrank", "--sizes", "0.2..0.8", "--budget", "0.5"], "--budget and --sizes contradict each other"],
  [
    ["--structure", "lowrank", "--sizes", "0.2..0.8", "--init", "activation", "--calibrate", "x", "--sequential"],
    "--sequential is for one size, and --sizes makes several; leave it out",
  ],
])("convert %p is refused", async (args, reason) => {
  const { code, stderr } = await convert(...args, "--out", at("none"));
  expect(code).toBe(2);
  expect(stderr).toContain(reason);
});
