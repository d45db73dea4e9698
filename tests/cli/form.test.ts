// --form of the verbs that evaluate: the kernels that multiply, equal results, and a refusal.

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { addEval } from "../../workbench/cli/eval.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { PACKED_PRODUCT, PANEL_PRODUCT, TILE_PRODUCT } from "../../workbench/engine/ops/gblr/kernels.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { FORM_NAMES } from "../../workbench/structures/structure.ts";
import { converted, tinyModel } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";

const at = temporaryFolder();
runOffline(at("cache"));

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const model = tinyModel(3, { vocab_size: 300 });
  await converted(model, await planConversion(model, { structure: "gblr", budget: 0.5 }));
  await saveModelNow(model, at("model"));
  writeTinyTokenizer(at("model"));
  mkdirSync(at("text"));
  writeFileSync(at("text", "test.txt"), "the other and the one ".repeat(9));
});

const evaluated = (...args: string[]) =>
  runVerb(addEval, ["eval", "ppl", at("model"), "--dataset", at("text"), "--engine", "wasm", "--json", ...args]);

test("multiplies with the named form, and without a name with the one that is chosen", async () => {
  const losses: number[] = [];
  for (const form of [...FORM_NAMES, "auto", "measure"]) {
    let stdout = "";
    const { kernelNames } = await tf.profile(async () => {
      const done = await evaluated("--form", form);
      expect(done.code).toBe(0);
      stdout = done.stdout;
      return [];
    });
    expect(kernelNames.includes(PANEL_PRODUCT)).toBe(form === "panels");
    expect(kernelNames.includes(TILE_PRODUCT)).toBe(form === "tiles");
    expect(kernelNames.includes(PACKED_PRODUCT)).toBe(form === "packed");
    losses.push(JSON.parse(stdout).nll);
  }
  for (const loss of losses) expect(loss).toBeCloseTo(losses[0] as number, 5);
});

test("refuses a form that does not exist in one line", async () => {
  const { code, stderr } = await evaluated("--form", "diagonal");
  expect(code).toBe(2);
  expect(stderr).toContain("Allowed choices are auto, measure, dense, lowrank, packed, panels, tiles.");
});
