// `gblr import` of GGUF files as a user runs it: the real command in a process of its own.

import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import {
  f32,
  type Spec,
  smallLlama,
  type TensorSpec,
  u32,
  withMetadata,
  withTensor,
  writeGguf,
} from "../hub/gguf/build.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { smolLm2 } from "../real-models.ts";

const GBLR = path.join(import.meta.dirname, "../../workbench/cli/gblr.ts");
const at = temporaryFolder();

function run(args: string[], env: Record<string, string> = {}) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, ...args], {
    env: { ...process.env, ...env },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

const gblr = (...args: string[]) => run(["import", ...args]);

function written(name: string, spec: Spec = smallLlama()): string {
  return writeGguf(at(name), spec);
}

const FILES = [
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
  "generation_config.json",
  "chat_template.jinja",
  "README.md",
  "config.json",
];

test("a GGUF file becomes a model folder, which the other verbs take", () => {
  const [file, out] = [written("small.gguf"), at("small")];
  const { code, stdout, stderr } = gblr(file, "--out", out);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.split("\n")).toEqual([
    `${file} → ${out}`,
    "  small (llama): 11 tensors, 35.2 kB of float32",
    "  read 11 F32",
    `  written ${FILES.join(", ")}`,
    "",
  ]);
  expect(readdirSync(out).sort()).toEqual([...FILES].sort());
  expect(readFileSync(path.join(out, "chat_template.jinja"), "utf8")).toBe("{{ messages[0].content }}");
  for (const args of [
    ["inspect", out],
    ["generate", out, "abc", "--tokens", "3"],
    ["convert", out, "--structure", "lowrank", "--budget", "0.6", "--out", at("converted")],
    ["generate", at("converted"), "abc", "--tokens", "3"],
  ]) {
    const { code, stderr } = run(args);
    expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
  }
}, 120_000);

test("--json is one document; --dtype is the type of the weights; shards are no larger than asked", async () => {
  const [file, out] = [written("types.gguf"), at("types")];
  const { code, stdout, stderr } = gblr(file, "--out", out, "--dtype", "bf16", "--max-shard-size", "8kB", "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const summary = JSON.parse(stdout);
  const { files, ...facts } = summary;
  expect(facts).toEqual({
    file,
    out,
    type: "llama",
    name: "small",
    dtype: "bfloat16",
    types: { F32: 11 },
    tensors: 11,
    bytes: 17_600,
  });
  expect(files).toContain("model.safetensors.index.json");
  expect(readdirSync(out).sort()).toEqual([...files].sort());
  const [shard] = files.filter((name: string) => name.startsWith("model-00001"));
  const tensors = await readSafetensors(path.join(out, shard));
  expect([...tensors.values()].every(({ dtype }) => dtype === "BF16")).toBe(true);
});

test("a model is replaced with --force only; its chat template is not kept, a README.md is", () => {
  const out = at("twice");
  expect(gblr(written("with.gguf"), "--out", out).code).toBe(0);
  const without = written("without.gguf", withMetadata(smallLlama(), { "tokenizer.chat_template": undefined }));
  const refused = gblr(without, "--out", out);
  expect({ code: refused.code, stdout: refused.stdout }).toEqual({ code: 1, stdout: "" });
  expect(refused.stderr).toBe(`gblr: ${out} already has config.json; pass --force to replace it\n`);
  writeFileSync(path.join(out, "README.md"), "mine");
  expect(gblr(without, "--out", out, "--force").code).toBe(0);
  expect(readFileSync(path.join(out, "README.md"), "utf8")).toBe("mine");
  expect(existsSync(path.join(out, "chat_template.jinja"))).toBe(false);
});

test.each<[string[], string]>([
  [["--heads", "4"], "--heads does not apply to FILE, a GGUF file; leave it out"],
  [["--raw"], "--raw does not apply to FILE, a GGUF file; leave it out"],
  [["--masks", "boxcar"], "--masks does not apply to FILE, a GGUF file; leave it out"],
])("with %p the command line is refused", (flags, message) => {
  const file = written("flags.gguf");
  const { code, stdout, stderr } = gblr(file, "--out", at("flags"), ...flags);
  expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: `gblr: ${message.replace("FILE", file)}\n` });
  expect(existsSync(at("flags"))).toBe(false);
});

const big: TensorSpec = {
  name: "",
  dims: [32],
  data: new Uint8Array(Float32Array.from({ length: 32 }, () => 1e6).buffer),
};

test.each<[string, Spec, string[], string]>([
  [
    "a mixture of experts",
    withMetadata(smallLlama(), { "llama.expert_count": u32(8) }),
    [],
    "is a mixture of 8 experts",
  ],
  ["an unknown setting", withMetadata(smallLlama(), { "llama.logit_scale": f32(2) }), [], 'has "llama.logit_scale"'],
  [
    "a value too large for float16",
    withTensor(smallLlama(), "output_norm.weight", { data: big.data as Uint8Array }),
    ["--dtype", "f16"],
    'tensor "output_norm.weight": has the value 1000000, too large for float16',
  ],
])("%s gives one line, and no folder", (_, spec, flags, message) => {
  const { code, stdout, stderr } = gblr(written("bad.gguf", spec), "--out", at("bad"), ...flags);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toStartWith(`gblr: ${at("bad.gguf")}: `);
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(existsSync(at("bad"))).toBe(false);
});

test("a model in several files is read from the first", async () => {
  const { metadata, tensors } = smallLlama();
  const whole = written("whole.gguf");
  const parts = [tensors.slice(0, 4), tensors.slice(4, 7), tensors.slice(7)];
  const files = parts.map((part, i) => {
    const split = [["split.count", u32(3)] as const, ["split.no", u32(i)] as const];
    const entries = i === 0 ? [...metadata, ...split] : split;
    return written(`part-0000${i + 1}-of-00003.gguf`, { metadata: entries, tensors: part });
  });
  expect(gblr(whole, "--out", at("whole")).code).toBe(0);
  expect(gblr(files[0] as string, "--out", at("parts"))).toMatchObject({ code: 0, stderr: "" });
  const [one, other] = ["whole", "parts"].map((name) => readFileSync(at(name, "model.safetensors")));
  expect(one?.equals(other as Buffer)).toBe(true);
  expect(gblr(files[1] as string, "--out", at("second")).stderr).toContain("is file 2 of 3 of a model; give the first");
});

test("a file on the Hub is pulled", () => {
  mkdirSync(at("hub", "models", "me", "tiny-GGUF"), { recursive: true });
  writeGguf(at("hub", "models", "me", "tiny-GGUF", "tiny.gguf"), smallLlama());
  const env = { HF_ENDPOINT: `file:${at("hub")}`, HF_HOME: at("home") };
  const done = run(["import", "me/tiny-GGUF/tiny.gguf", "--out", at("pulled")], env);
  expect({ code: done.code, stderr: done.stderr }).toEqual({ code: 0, stderr: "" });
  expect(readdirSync(at("pulled"))).toContain("tokenizer.json");
  const none = run(["import", "me/tiny-GGUF/other.gguf", "--out", at("none")], env);
  expect({ code: none.code, lines: none.stderr.trim().split("\n").length }).toEqual({ code: 1, lines: 1 });
  expect(none.stderr).toContain("me/tiny-GGUF");
  const missing = run(["import", "tests/hub/other.gguf", "--out", at("none")], env);
  expect(missing.stderr).toBe("gblr: tests/hub/other.gguf: cannot be opened: no such file\n");
});

const real = smolLm2();

test.skipIf(!real)(
  "Ctrl-C leaves nothing behind",
  async () => {
    const out = at("interrupted");
    const child = spawn(process.execPath, [GBLR, "import", real as string, "--out", out]);
    const closed = once(child, "close");
    while (!existsSync(out) || !readdirSync(out).some((name) => name.endsWith(".tmp"))) await Bun.sleep(5);
    child.kill("SIGINT");
    const [code] = await closed;
    expect(code).toBe(130);
    expect(existsSync(out)).toBe(false);
  },
  60_000,
);
