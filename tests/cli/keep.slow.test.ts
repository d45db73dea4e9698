// --keep of the verbs that use a model of several sizes: each gives what it gives for the folder of the cut.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { addChat } from "../../workbench/cli/chat.ts";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addEval } from "../../workbench/cli/eval.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { addGenerate } from "../../workbench/cli/generate.ts";
import { addInspect } from "../../workbench/cli/inspect.ts";
import type { AddVerb } from "../../workbench/cli/shared/program.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit } from "../architectures/small-vision.ts";
import { saveSized } from "../compress/sizes/sized.ts";
import { madeImages } from "../data/images/made-images.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonWith } from "../python/python.ts";
import { writeChatModel } from "./chat-model.ts";
import { runOffline, runVerb } from "./in-process.ts";

setDefaultTimeout(240_000);

const at = temporaryFolder();
const python = pythonWith("lm_eval", "tenacity", "aiohttp");
const ENGINE = ["--engine", "wasm"];
const KEEP = ["--keep", "0.45"];
let images: string;
runOffline(at("cache"));

/** The output of a verb that must succeed. */
async function outputOf(add: AddVerb, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runVerb(add, [...args, ...ENGINE]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

async function sizesAndCut(dense: string, name: string): Promise<void> {
  await outputOf(addConvert, "convert", dense, "--structure", "lowrank", "--sizes", "0.3..0.8", "--out", at(name));
  await outputOf(addExport, "export", at(name), ...KEEP, "--out", at(`${name} cut`));
}

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  await writeChatModel(at("dense"));
  await sizesAndCut(at("dense"), "text");
  const vit = smallVit();
  await saveModelNow(vit as never, at("vit"), {});
  vit.dispose();
  await sizesAndCut(at("vit"), "vit sizes");
  images = (await madeImages(at("images"), { count: 15, classes: 5 })).dataset;
});

test("generate continues a text as the cut does, and as the whole folder does not", async () => {
  const generated = async (...args: string[]) =>
    JSON.parse(await outputOf(addGenerate, "generate", ...args, "hello", "--temperature", "0", "--json"));
  const kept = await generated(at("text"), ...KEEP);
  expect(kept.keep).toBe(0.45);
  const cut = await generated(at("text cut"));
  expect(cut).not.toHaveProperty("keep");
  expect(kept.ids).toEqual(cut.ids);
  expect(kept.ids).not.toEqual((await generated(at("text"))).ids);
});

test("chat answers as the cut does", async () => {
  const answer = (...args: string[]) =>
    outputOf(addChat, "chat", ...args, "-p", "hello", "--temperature", "0", "--tokens", "12");
  const kept = await answer(at("text"), ...KEEP);
  expect(kept).toBe(await answer(at("text cut")));
  expect(kept).not.toBe(await answer(at("text")));
});

test("eval acc measures the cut, names its size, and records it in the results", async () => {
  const data = ["--dataset", images, "--split", "train", "--workers", "1"];
  const measured = async (...args: string[]) =>
    JSON.parse(await outputOf(addEval, "eval", "acc", ...args, ...data, "--json"));
  const kept = await measured(at("vit sizes"), ...KEEP, "--results", at("results.json"));
  const cut = await measured(at("vit sizes cut"));
  expect(kept.keep).toBe(0.45);
  expect([kept.loss, kept.relativeFlops]).toEqual([cut.loss, cut.relativeFlops]);
  expect(kept.loss).not.toBe((await measured(at("vit sizes"))).loss);
  expect(JSON.parse(readFileSync(at("results.json"), "utf8")).settings.keep).toBe(0.45);
  const table = await outputOf(addEval, "eval", "acc", at("vit sizes"), ...data, ...KEEP);
  expect(table).toStartWith(`${at("vit sizes")}@0.45 on `);
});

test.each(["lowrank", "gblr"] as const)("inspect shows what a cut of %s holds", async (structure) => {
  await saveSized(at(structure), structure, structure === "gblr" ? "search" : "activation");
  await outputOf(addExport, "export", at(structure), ...KEEP, "--out", at(`${structure} cut`));
  const inspected = async (...args: string[]) => JSON.parse(await outputOf(addInspect, "inspect", ...args, "--json"));
  const { model: _, keep, ...kept } = await inspected(at(structure), ...KEEP);
  const { model: _1, ...cut } = await inspected(at(`${structure} cut`));
  expect(keep).toBe(0.45);
  expect(kept).toEqual(cut);
  expect(kept.totals.all.cost).toBeLessThan((await inspected(at(structure))).totals.all.cost);
  const table = await outputOf(addInspect, "inspect", at(structure), ...KEEP);
  expect(table).toStartWith(`${at(structure)}@0.45\n`);
  expect(table).not.toContain("sizes:");
});

const TASKS = ["--tasks", "arc_easy"];
const HARNESS = python ? [["eval harness", addEval, TASKS] as const] : [];
if (!python) console.log("skipped: --keep of eval harness, because no Python has lm_eval");

test.each([
  ["generate", addGenerate, ["hello"]],
  ["chat", addChat, ["-p", "hello"]],
  ["inspect", addInspect, []],
  ...HARNESS,
] as const)(
  "%s --keep refuses a model of one size and a size outside the range in one line",
  async (verb, add, rest) => {
    const before = process.env.GBLR_PYTHON;
    if (python) process.env.GBLR_PYTHON = python;
    const run = (...args: string[]) => runVerb(add, [...verb.split(" "), ...args, ...rest, ...ENGINE]);
    expect(await run(at("dense"), ...KEEP)).toEqual({
      code: 1,
      stdout: "",
      stderr: `gblr: ${at("dense", "config.json")}: has no "gblr.sizes", so that the model has one size; make one with \`gblr convert --sizes 0.2..0.8\`\n`,
    });
    expect(await run(at("text"), "--keep", "0.9")).toMatchObject({
      code: 1,
      stderr: "gblr: the model has sizes from 0.3 to 0.8, not 0.9; give --keep in this range\n",
    });
    expect(await run(at("text"), "--keep", "1.5")).toMatchObject({ code: 2 });
    if (before === undefined) delete process.env.GBLR_PYTHON;
    else process.env.GBLR_PYTHON = before;
  },
);

test("inspect --keep refuses a file, which has no record of sizes", async () => {
  const file = at("text", "model.safetensors");
  const { code, stderr } = await runVerb(addInspect, ["inspect", file, ...KEEP, ...ENGINE]);
  expect(code).toBe(2);
  expect(stderr).toBe(`gblr: --keep cuts a model folder, and ${file} is a file; give its folder\n`);
});
