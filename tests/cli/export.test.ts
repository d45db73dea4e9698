// `gblr export` as a user runs it: what it writes gives the logits of what it read.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { fromFloat32 } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { forInference, type Gpt2Config, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { converted, tinyModel, tokens } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { expectClose, read } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runVerb } from "./in-process.ts";

const at = temporaryFolder();

const gblr = (...args: string[]) => runVerb(addExport, ["export", ...args, "--engine", "cpu"]);

async function logitsIn(folder: string): Promise<Float32Array> {
  const model = (await loadModelNow(folder)) as Model<Gpt2Config>;
  const view = await forInference(model);
  const values = await read(tf.tidy(() => languageLogits(view, tokens(7))));
  view.dispose();
  model.dispose();
  return values;
}

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  for (const structure of ["gblr", "monarch"]) {
    const model = tinyModel();
    await converted(model, await planConversion(model, { structure, budget: 0.7 }));
    await saveModelNow(model, at(structure), { trainable: structure === "gblr" });
    model.dispose();
  }
  writeTinyTokenizer(at("gblr"));
});

test.each(["gblr", "monarch"])("%s to dense is an official checkpoint with the same logits", async (structure) => {
  const out = at("dense", structure);
  const { code, stdout, stderr } = await gblr(at(structure), "--to", "dense", "--out", out);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe(`${out}: 31.1 kB of float32, 6 layers converted to dense\n`);
  expectClose(await logitsIn(out), await logitsIn(at(structure)), { tolerance: 1e-4 });
  const config = JSON.parse(readFileSync(path.join(out, "config.json"), "utf8"));
  expect(config).toMatchObject({ model_type: "gpt2", architectures: ["GPT2LMHeadModel"], n_layer: 2 });
  expect(config).not.toHaveProperty("gblr");
  expect(config).not.toHaveProperty("auto_map");
  const tensors = await readSafetensors(path.join(out, "model.safetensors"));
  expect(tensors.get("h.1.mlp.c_fc.weight")).toMatchObject({ dtype: "F32", shape: [16, 64] });
  expect([...tensors.keys()].every((name) => /\.(weight|bias)$/.test(name))).toBe(true);
  expect(readdirSync(out).sort()).toEqual([
    "config.json",
    "model.safetensors",
    ...(structure === "gblr" ? ["tokenizer.json", "tokenizer_config.json"] : []),
  ]);
});

test.each([
  ["float16", "F16"],
  ["bfloat16", "BF16"],
] as const)("to dense in %s takes half the bytes, each number rounded to nearest", async (dtype, stored) => {
  const out = at(dtype);
  const { code, stdout } = await gblr(at("gblr"), "--to", "dense", "--dtype", dtype, "--out", out, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ to: "dense", dtype, bytes: 15552 });
  expect(JSON.parse(stdout).layers).toHaveLength(6);
  expect(JSON.parse(readFileSync(path.join(out, "config.json"), "utf8")).torch_dtype).toBe(dtype);
  const tensors = await readSafetensors(path.join(out, "model.safetensors"));
  expect((await gblr(at("gblr"), "--to", "dense", "--out", at(`whole ${dtype}`))).code).toBe(0);
  const whole = await readSafetensors(path.join(at(`whole ${dtype}`), "model.safetensors"));
  expect([...tensors.keys()]).toEqual([...whole.keys()]);
  for (const [name, { data, shape }] of whole) {
    const expected = fromFloat32(data as Float32Array, { dtype: stored, shape });
    expect({ name, ...tensors.get(name) }).toEqual({ name, ...expected });
  }
  expect((await logitsIn(out)).every(Number.isFinite)).toBe(true);
});

test("to reference has the reference's names and the same logits", async () => {
  const out = at("reference");
  expect((await gblr(at("gblr"), "--to", "reference", "--out", out)).code).toBe(0);
  const tensors = await readSafetensors(path.join(out, "model.safetensors"));
  const shapes = Object.fromEntries([...tensors].map(([name, { shape }]) => [name, shape]));
  expect(shapes).toMatchObject({
    "transformer.h.0.attn.c_attn.lr_weight1": [16, 1, 16],
    "transformer.h.0.attn.c_attn.lr_weight2": [16, 48, 1],
    "transformer.h.0.attn.c_attn.widths": [2, 16],
    "transformer.h.0.attn.c_attn.locations": [2, 16],
    "transformer.h.0.attn.c_attn.sigma": [],
    "transformer.h.0.attn.c_attn.freq_in": [9],
    "transformer.h.0.attn.c_attn.freq_out": [25],
    "transformer.h.0.attn.c_attn.bias": [48],
    "transformer.h.0.attn.c_proj.weight": [16, 16],
    "transformer.h.0.attn.bias": [1, 1, 24, 24],
    "lm_head.weight": [50, 16],
  });
  expectClose(await logitsIn(out), await logitsIn(at("gblr")), { tolerance: 1e-4 });
});

test("a monarch model has no names in the reference, and a model is not replaced without --force", async () => {
  const refused = await gblr(at("monarch"), "--to", "reference", "--out", at("none"));
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/^gblr: .*h\.0\.attn\.c_attn is monarch; export dense\n$/);
  expect(existsSync(path.join(at("none"), "model.safetensors"))).toBe(false);
  const before = statSync(path.join(at("gblr"), "model.safetensors")).mtimeMs;
  const { code, stderr } = await gblr(at("monarch"), "--to", "dense", "--out", at("gblr"));
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: `gblr: ${at("gblr")} already has config.json; pass --force to replace it\n`,
  });
  expect(statSync(path.join(at("gblr"), "model.safetensors")).mtimeMs).toBe(before);
});

test.each([
  [["--to", "sparse"], "Allowed choices are dense, packed, reference"],
  [[], "--to"],
  [["--to", "dense", "--dtype", "int4"], "Allowed choices are float32, float16, bfloat16, int8"],
  [["--to", "onnx", "--dtype", "int8"], "--dtype int8 is for --to packed and dense, not onnx"],
  [["--to", "reference", "--dtype", "float16"], "--to reference writes float32 only"],
])("bad usage exits 2 with one line: %j", async (args, named) => {
  const { code, stdout, stderr } = await gblr(at("gblr"), ...args, "--out", at("bad"));
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(named);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});

test("to packed in half precision takes about half the bytes and keeps the logits, and says which layers it cannot round", async () => {
  const out = at("half");
  const { code, stdout, stderr } = await gblr(
    at("gblr"),
    "--to",
    "packed",
    "--dtype",
    "bfloat16",
    "--out",
    out,
    "--json",
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const told = JSON.parse(stdout);
  expect(told).toMatchObject({ to: "packed", dtype: "bfloat16" });
  expect(told).not.toHaveProperty("exact");
  const whole = await gblr(at("gblr"), "--to", "packed", "--out", at("whole"), "--json");
  // Spans are whole numbers of 32 bits.
  expect(told.bytes / JSON.parse(whole.stdout).bytes).toBeLessThan(0.6);
  const [half, exact] = [await logitsIn(out), await logitsIn(at("gblr"))];
  // The dense weights of this small model in bfloat16 change its logits as much.
  const length = (values: readonly number[]) => Math.hypot(...values);
  const apart = [...exact].map((value, i) => value - (half[i] as number));
  expect(length(apart) / length([...exact])).toBeLessThan(0.05);

  // Blocks a thousand times as large as their sum.
  const model = await loadModelNow(at("gblr"), { form: "trainable" });
  const name = [...model.layers.values()].find(({ structure }) => !structure.isDense)?.name as string;
  const { lr_weight1, lr_weight2, widths } = model.structureParameters(name) as Record<string, tf.Variable>;
  tf.tidy(() => {
    const turned = (factor: tf.Variable, by: number[]) =>
      factor.assign(tf.mul(tf.slice(factor, 0, 1), tf.reshape(tf.tensor1d(by), [-1, 1, 1])));
    const count = lr_weight1?.shape[0] as number;
    turned(lr_weight1 as tf.Variable, new Array(count).fill(1));
    turned(
      lr_weight2 as tf.Variable,
      Array.from({ length: count }, (_, k) => (k === 0 ? 1000 : k === 1 ? -999 : 0)),
    );
    widths?.assign(tf.ones(widths.shape));
  });
  await saveModelNow(model, at("cancelling"));
  model.dispose();
  const kept = await gblr(at("cancelling"), "--to", "packed", "--dtype", "float16", "--out", at("kept"), "--json");
  expect(JSON.parse(kept.stdout).exact).toEqual([name]);
  expect(kept.stderr).toBe(
    `gblr: ${name}: stored in float32, because the blocks cancel each other and would not stand rounding; convert with --stable-blocks for half precision\n`,
  );
  const small = await gblr(at("cancelling"), "--to", "packed", "--dtype", "int8", "--out", at("small"));
  expect(small.stderr).toBe(
    `gblr: ${name}: stored in float32, because int8 would change it by more than 2 %; convert with --stable-blocks for smaller files\n`,
  );
});

test.each(["packed", "dense"])("to %s in int8 takes about a quarter of the bytes and keeps the logits", async (to) => {
  const documentOf = async (out: string, ...args: string[]) => {
    const { code, stdout, stderr } = await gblr(at("gblr"), "--to", to, "--out", at(out), "--json", ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout);
  };
  const [whole, small] = [await documentOf(`${to} whole`), await documentOf(`${to} small`, "--dtype", "int8")];
  expect(small.dtype).toBe("int8");
  // Spans, biases and norms are not rounded.
  expect(small.bytes / whole.bytes).toBeLessThan(0.5);
  const [found, expected] = [await logitsIn(at(`${to} small`)), await logitsIn(at(`${to} whole`))];
  const apart = Math.hypot(...[...expected].map((value, i) => value - (found[i] as number)));
  // Three to four times the change by bfloat16, as the steps are.
  expect(apart / Math.hypot(...expected)).toBeLessThan(0.2);
});
