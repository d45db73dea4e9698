// `gblr export --to peft`: the adapters of a run as Hugging Face's PEFT reads them. A base model with these adapters must
// give the logits of the model that the run has written, in which they are merged.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { addFinetune } from "../../workbench/cli/finetune.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { runOffline, runVerb } from "../cli/in-process.ts";
import { writeTinySources } from "../cli/tiny-sources.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { expectClose, read } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { smallLlama } from "./llama/small-llamas.ts";
import { PATIENCE, pythonWith, runPython } from "./python.ts";

setDefaultTimeout(2 * PATIENCE);

const at = temporaryFolder();
const python = pythonWith("torch", "transformers", "peft");
const IDS = [
  [5, 17, 60, 3, 41, 9, 22],
  [33, 2, 7, 19, 80, 4, 11],
];
runOffline(at("cache"));

/** Runs with adapters: the base model, and the settings of the adapters. */
const RUNS: Readonly<Record<string, readonly [base: string, ...settings: string[]]>> = {
  "a GPT-2": ["dense", "--lora", "4", "--lora-alpha", "6"],
  "a part of a GPT-2": ["dense", "--lora", "3", "--lora-layers", "h.0.*"],
  // Keys and values have fewer outputs than this rank.
  "a Llama": ["llama", "--lora", "16", "--lora-alpha", "8", "--lora-layers", "*"],
  "a Qwen3": ["qwen3", "--lora", "4"],
};

const TRAINING = [
  ...["--steps", "5", "--batch", "4", "--micro-batch", "4", "--context", "24"],
  ...["--learning-rate", "2e-2", "--warmup-steps", "1", "--limit", "4", "--engine", "wasm"],
];

async function finetuned(base: string, run: string, ...settings: string[]): Promise<void> {
  const args = ["finetune", base, "--dataset", at("text"), ...settings, ...TRAINING, "--run", run];
  const { code, stderr } = await runVerb(addFinetune, args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
}

const exported = (run: string, out: string, ...args: string[]) =>
  runVerb(addExport, ["export", run, "--to", "peft", "--out", out, ...args]);

async function logitsIn(folder: string): Promise<Float32Array> {
  const model = await loadModelNow(folder);
  const values = await read(tf.tidy(() => languageLogits(model as never, tf.tensor2d(IDS, undefined, "int32"))));
  model.dispose();
  return values;
}

const configIn = (folder: string) => JSON.parse(readFileSync(path.join(folder, "adapter_config.json"), "utf8"));

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  await writeTinySources(at, ["train", "test", "validation"]);
  for (const family of ["llama", "qwen3"]) {
    const model = await smallLlama(family, { isDense: true, config: { vocab_size: 300 } });
    await saveModelNow(model, at(family));
    model.dispose();
    writeTinyTokenizer(at(family));
  }
  for (const [name, [base, ...settings]] of Object.entries(RUNS)) {
    await finetuned(at(base), at(name), ...settings);
    const { code, stdout, stderr } = await exported(at(name), at(`${name} peft`));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/: [\d.]+ kB of float32, \d+ layers with adapters\n$/);
  }
});

test.skipIf(!python)("PEFT finds the logits of the merged model, beside the base and merged by itself", async () => {
  const names = Object.keys(RUNS);
  const pairs = names.flatMap((name) => [at(RUNS[name]?.[0] as string), at(`${name} peft`)]);
  const code = readFileSync(path.join(import.meta.dir, "peft_logits.py"), "utf8");
  const { status, stdout, stderr } = await runPython(python as string, code, {
    args: [JSON.stringify(IDS), ...pairs],
    env: { HF_HUB_OFFLINE: "1" },
  });
  expect(status === 0 ? "" : stderr).toBe("");
  const found = JSON.parse(stdout) as Record<"base" | "adapted" | "merged", number[]>[];
  for (const [i, name] of names.entries()) {
    const { base, adapted, merged } = found[i] as (typeof found)[number];
    const ours = await logitsIn(path.join(at(name), "model"));
    expectClose(Float32Array.from(adapted), ours, { tolerance: 1e-4 });
    expectClose(Float32Array.from(merged), ours, { tolerance: 1e-4 });
    const change = Math.max(...base.map((value, at) => Math.abs(value - (ours[at] as number))));
    expect(change).toBeGreaterThan(0.01);
  }
});

test("the settings are those of the run, for modules by the names of transformers", () => {
  expect(configIn(at("a GPT-2 peft"))).toMatchObject({
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: at("dense"),
    r: 4,
    lora_alpha: 6,
    fan_in_fan_out: true,
  });
  const part = configIn(at("a part of a GPT-2 peft"));
  expect(part.lora_alpha).toBe(3);
  expect(part.target_modules).toContain("transformer.h.0.attn.c_attn");
  expect(part.target_modules).not.toContain("c_attn");
  const llama = configIn(at("a Llama peft"));
  expect(llama.fan_in_fan_out).toBe(false);
  const projections = ["k_proj", "o_proj", "q_proj", "v_proj"];
  expect(llama.target_modules).toEqual(["down_proj", "gate_proj", "up_proj", ...projections].sort());
  expect(llama.rank_pattern["model.layers.0.self_attn.k_proj"]).toBe(12);
  expect(llama.alpha_pattern["model.layers.0.self_attn.k_proj"]).toBe(6);
  expect(llama.rank_pattern).not.toHaveProperty("model.layers.0.self_attn.q_proj");
});

test("the model folder of a run can be given instead of the run", async () => {
  expect((await exported(path.join(at("a GPT-2"), "model"), at("by model"))).code).toBe(0);
  const bytesIn = (name: string) => readFileSync(path.join(at(name), "adapter_model.safetensors"));
  expect(bytesIn("by model").equals(bytesIn("a GPT-2 peft"))).toBe(true);
});

async function refusal(run: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await exported(run, at("refused"), ...args);
  expect(code).toBeGreaterThan(0);
  expect(stdout).toBe("");
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(existsSync(at("refused"))).toBe(false);
  return stderr;
}

test("runs without adapters for PEFT are refused with what can be exported", async () => {
  await finetuned(at("dense"), at("full"));
  expect(await refusal(at("full"))).toContain(
    "without --lora, so that it has no adapters; export the model --to dense",
  );
  await finetuned(at("dense"), at("norms"), "--lora", "4", "--lora-full", "ln_1");
  expect(await refusal(at("norms"))).toContain("has trained ln_1 in full beside its adapters, which PEFT's file");
  const args = ["convert", at("dense"), "--structure", "lowrank", "--budget", "0.6", "--out", at("compressed")];
  expect((await runVerb(addConvert, [...args, "--engine", "wasm"])).code).toBe(0);
  await finetuned(at("compressed"), at("factors"), "--lora", "2");
  expect(await refusal(at("factors"))).toContain("adapters on the factors of lowrank layers");
  expect(await refusal(at("dense"))).toContain("is not the folder of a run");
  expect(await refusal("owner/name")).toContain("owner/name is not the folder of a run");
});

test("a run that has not ended, or has lost its checkpoint, is refused", async () => {
  cpSync(at("a GPT-2"), at("stopped"), { recursive: true });
  const record = JSON.parse(readFileSync(at("stopped", "run.json"), "utf8"));
  writeFileSync(at("stopped", "run.json"), JSON.stringify({ ...record, status: "interrupted" }));
  expect(await refusal(at("stopped"))).toContain("is interrupted, not finished; run its command again to resume it");
  writeFileSync(at("stopped", "run.json"), JSON.stringify(record));
  rmSync(at("stopped", "checkpoint"), { recursive: true });
  expect(await refusal(at("stopped"))).toContain("has no checkpoint, which holds the adapters");
});

test.each([
  [["--dtype", "int8"], "--to peft writes float32 only, not int8"],
  [["--dtype", "bfloat16"], "--to peft writes float32 only, not bfloat16"],
  [["--keep", "0.5"], "--keep cuts compressed layers"],
  [["--check", "x"], "--check is for --to packed and dense, not peft"],
])("%j does not go with adapters", async (args, reason) => {
  expect(await refusal(at("a GPT-2"), ...args)).toContain(reason);
});

test("adapters that are there are replaced with --force only", async () => {
  expect((await exported(at("a GPT-2"), at("a GPT-2 peft"))).stderr).toContain("already has adapter_model.safetensors");
  expect((await exported(at("a GPT-2"), at("a GPT-2 peft"), "--force")).code).toBe(0);
});
