// --dtype of the verbs that load models: results with weights in half precision, and refusals.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addEval } from "../../workbench/cli/eval.ts";
import { addGenerate } from "../../workbench/cli/generate.ts";
import type { AddVerb } from "../../workbench/cli/shared/program.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { tinyModel } from "../compress/tiny.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";

const at = temporaryFolder();
runOffline(at("cache"));

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  await saveModelNow(tinyModel(3, { vocab_size: 26, eos_token_id: null }), at("model"));
  writeLetters("model");
  // The same model with its weights rounded.
  const model = await loadModelNow(at("model"));
  await saveModelNow(model, at("bfloat16"), { dtype: "bfloat16" });
  writeLetters("bfloat16");
  mkdirSync(at("text"));
  writeFileSync(at("text", "test.txt"), "theotherandtheone".repeat(9));
});

/** A tokenizer whose tokens are the letters. */
function writeLetters(folder: string): void {
  const letters = [..."abcdefghijklmnopqrstuvwxyz"].map((letter, id) => [letter, id]);
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const model = { type: "BPE", vocab: Object.fromEntries(letters), merges: [] };
  const tokenizer = { version: "1.0", added_tokens: [], pre_tokenizer: bytes, decoder: bytes, model };
  writeFileSync(at(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(at(folder, "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "GPT2Tokenizer" }));
}

async function documentOf(add: AddVerb, args: readonly string[]) {
  const { code, stdout, stderr } = await runVerb(add, args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

const PPL = () => ["--dataset", at("text"), "--json"];

describe.skipIf(!ENGINES.some(({ name }) => name === "torch"))("--dtype bfloat16 on torch", () => {
  const torch = ["--engine", "torch", "--device", "cpu"];

  test("gives the perplexity of the rounded model, and the type is in the document", async () => {
    const half = await documentOf(addEval, ["eval", "ppl", at("model"), ...PPL(), ...torch, "--dtype", "bfloat16"]);
    const rounded = await documentOf(addEval, ["eval", "ppl", at("bfloat16"), ...PPL(), ...torch]);
    const auto = await documentOf(addEval, ["eval", "ppl", at("bfloat16"), ...PPL(), ...torch, "--dtype", "auto"]);
    expect([half, rounded, auto].map(({ dtype }) => dtype)).toEqual(["bfloat16", "float32", "auto"]);
    expect(Math.abs(half.nll / rounded.nll - 1)).toBeLessThan(1e-6);
    expect(Math.abs(auto.nll / rounded.nll - 1)).toBeLessThan(1e-6);
  });

  test("generates the text of the rounded model", async () => {
    const args = ["the", "--temperature", "0", "--tokens", "10", "--json", ...torch];
    const half = await documentOf(addGenerate, ["generate", at("model"), ...args, "--dtype", "bfloat16"]);
    const rounded = await documentOf(addGenerate, ["generate", at("bfloat16"), ...args]);
    expect(half.ids).toEqual(rounded.ids);
  });

  test("converts the rounded model, by activation too", async () => {
    const calibration = ["--init", "activation", "--calibrate", at("text"), "--calibrate-split", "test"];
    const args = ["--structure", "lowrank", "--budget", "0.5", "--json", ...torch, ...calibration];
    const half = await documentOf(addConvert, [
      "convert",
      at("model"),
      "--out",
      at("a"),
      ...args,
      "--dtype",
      "bfloat16",
    ]);
    const rounded = await documentOf(addConvert, ["convert", at("bfloat16"), "--out", at("b"), ...args]);
    const errors = (of: { layers: { error: number; outputError: number }[] }) =>
      of.layers.flatMap(({ error, outputError }) => [error, outputError]);
    expect(errors(half).length).toBeGreaterThan(10);
    for (const [i, error] of errors(half).entries()) expect(error).toBeCloseTo(errors(rounded)[i] as number, 5);
  });
});

test("--calibrate-memory bounds the covariances, and changes nothing else", async () => {
  const calibration = ["--init", "activation", "--calibrate", at("text"), "--calibrate-split", "test"];
  const args = ["--structure", "lowrank", "--budget", "0.5", "--json", "--engine", "cpu", ...calibration];
  const whole = await documentOf(addConvert, ["convert", at("model"), "--out", at("c"), ...args]);
  const parts = await documentOf(addConvert, [
    "convert",
    at("model"),
    "--out",
    at("d"),
    ...args,
    "--calibrate-memory",
    "1e-5",
  ]);
  const errors = (of: { layers: { name: string; error: number; outputError: number }[] }) =>
    of.layers.map(({ name, error, outputError }) => ({ name, error, outputError }));
  expect(errors(parts)).toEqual(errors(whole));
});

test("engines that hold weights in float32 refuse half precision in one line", async () => {
  const refused =
    /^gblr: weights cannot be "float16" on engine "wasm", which holds them in float32; use --dtype float32, or engine torch\n$/;
  const engine = ["--engine", "wasm", "--dtype", "float16"];
  const runs = [
    await runVerb(addEval, ["eval", "ppl", at("model"), ...PPL(), ...engine]),
    await runVerb(addGenerate, ["generate", at("model"), "the", ...engine]),
    await runVerb(addConvert, [
      "convert",
      at("model"),
      "--out",
      at("e"),
      "--structure",
      "lowrank",
      "--budget",
      "0.5",
      ...engine,
    ]),
  ];
  for (const { code, stderr } of runs) {
    expect(code).toBe(1);
    expect(stderr).toMatch(refused);
  }
});

test("a type that does not exist is a usage error", async () => {
  const refusal = async (type: string) => {
    const { code, stderr } = await runVerb(addEval, ["eval", "ppl", at("model"), ...PPL(), "--dtype", type]);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await refusal("int4")).toContain("Allowed choices are float32, bfloat16, float16, auto.");
  expect(await refusal("int8")).toContain("use `gblr export MODEL --to packed --dtype int8 --out FOLDER`.");
});
