// What `gblr eval harness` refuses, each in one line and before a model is loaded.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { addEval } from "../../workbench/cli/eval.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonsWith, pythonWith } from "../python/python.ts";
import { runOffline, runVerb } from "./in-process.ts";

setDefaultTimeout(60_000);

const at = temporaryFolder();
const [bare] = pythonsWith();
const python = pythonWith("lm_eval", "tenacity", "aiohttp");
const pythonBefore = process.env.GBLR_PYTHON;
runOffline(at("cache"));

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const made = smallVit();
  await saveModelNow(made as never, at("classifier"), {});
  made.dispose();
});
afterAll(() => {
  if (pythonBefore === undefined) delete process.env.GBLR_PYTHON;
  else process.env.GBLR_PYTHON = pythonBefore;
});

async function refusal(program: string, ...args: string[]) {
  process.env.GBLR_PYTHON = program;
  const { code, stdout, stderr } = await runVerb(addEval, ["eval", "harness", at("classifier"), ...args]);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^gblr: [^\n]+\n$/);
  return { code, line: stderr.slice("gblr: ".length, -1) };
}

const INSTALL = 'pip install "lm_eval[api]", and set GBLR_PYTHON to the Python that has it';

test("a machine without Python is told how to install lm_eval", async () => {
  const line = `lm_eval needs Python, and there is no program ${at("python")}; ${INSTALL}`;
  expect(await refusal(at("python"), "--tasks", "arc_easy")).toEqual({ code: 1, line });
});

test.skipIf(!bare)("so is a Python without lm_eval", async () => {
  // With -S, Python has its own modules only.
  writeFileSync(at("bare-python"), `#!/bin/sh\nexec "${bare}" -S "$@"\n`);
  chmodSync(at("bare-python"), 0o755);
  const line = `${at("bare-python")} has no lm_eval, aiohttp, requests, tenacity, tqdm; ${INSTALL}`;
  expect(await refusal(at("bare-python"), "--tasks", "arc_easy")).toEqual({ code: 1, line });
});

test.skipIf(!python)("a classifier is refused", async () => {
  const line = `${at("classifier")} is a vit, not a language model; give a language model such as a GPT-2 or Llama`;
  expect(await refusal(python as string, "--tasks", "arc_easy", "--engine", "wasm")).toEqual({ code: 1, line });
});

test("command lines that cannot be meant are refused", async () => {
  const cases: [args: string[], line: string][] = [
    [["--tasks", "arc_easy,"], "--tasks arc_easy,: a name is empty; give names such as arc_easy"],
    [["--tasks", "x", "--log-samples"], "--log-samples needs --out, the folder for the samples"],
    [
      ["--tasks", "x", "--include-path", at("nowhere")],
      `--include-path ${at("nowhere")}: there is no such folder; give one with task files`,
    ],
    [
      ["--tasks", "x", "--limit", "1.5"],
      "option '--limit <documents>' argument '1.5' is invalid. It must be a whole number from 1, or a share below 1 such as 0.1.",
    ],
  ];
  for (const [args, line] of cases) expect(await refusal("python3", ...args)).toEqual({ code: 2, line });
  expect(existsSync(at("nowhere"))).toBe(false);
});
