// `gblr import` as a user runs it: the real command in a process of its own, on checkpoints that PyTorch wrote.

import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ImportSummary } from "../../hub/checkpoint/index.ts";
import { openTensors, type StoredTensor } from "../../hub/safetensors/index.ts";
import { readAll, readSafetensors } from "../../hub/safetensors/read.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { smallResnet } from "../architectures/small-vision.ts";
import { madeImages } from "../data/images/made-images.ts";
import { push } from "../hub/checkpoint/build.ts";
import { bitsByName } from "../hub/safetensors/tensors.ts";
import { fixture, temporaryFolder } from "../hub/temporary.ts";
import { checkpointOf } from "../models/tiny-checkpoint.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const at = temporaryFolder();

function gblr(...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, "import", ...args]);
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("import writes the checkpoint's tensors and its hyper-parameters, and says what it wrote", async () => {
  const { code, stdout, stderr } = gblr(fixture("tiny-gpt2-gaudi.ckpt"), "--raw", "--out", at("new", "model"));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/dtype +tensors +size/);
  expect(stdout).toMatch(/F32 +67 +40\.7 kB/);
  expect(stdout).toMatch(/total +69 +40\.8 kB/);
  expect(stdout).toContain("model.lm_head.weight shares the values of model.transformer.wte.weight");
  expect(stdout).not.toContain("\u001b[");
  expect(readdirSync(at("new", "model")).sort()).toEqual(["hyperparameters.json", "model.safetensors"]);

  const file = await openTensors(at("new", "model"));
  expect(Object.fromEntries(file.metadata)).toEqual({
    format: "pt",
    tied: '{"model.lm_head.weight":"model.transformer.wte.weight"}',
  });
  const expected = await readSafetensors(fixture("tiny-gpt2-gaudi.safetensors"));
  expect(bitsByName(await readAll(file))).toEqual(bitsByName(expected));
  expect(JSON.parse(readFileSync(at("new", "model", "hyperparameters.json"), "utf8"))).toMatchObject({
    epoch: 9,
    hyper_parameters: { model: { layer_type: "gaudi" } },
  });
});

test("import --json is one document; shards hold what one file would", async () => {
  const { code, stdout, stderr } = gblr(
    fixture("variants.ckpt"),
    "--out",
    at("shards"),
    "--json",
    "--max-shard-size",
    "0.4kB",
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const summary = JSON.parse(stdout) as ImportSummary;
  expect(summary).toMatchObject({ tensors: 20, bytes: 911, dtypes: { BF16: { tensors: 1, bytes: 30 } }, tied: {} });
  expect(summary.files).toContain("model.safetensors.index.json");
  expect(readdirSync(at("shards")).sort()).toEqual([...summary.files].sort());
  const expected = await readSafetensors(fixture("variants.safetensors"));
  expect(bitsByName(await readAll(await openTensors(at("shards"))))).toEqual(bitsByName(expected));
});

test("import does not replace a model without --force, and replaces all of it with --force", () => {
  const out = at("twice");
  expect(gblr(fixture("tiny-gpt2-gaudi.ckpt"), "--raw", "--out", out).code).toBe(0);
  writeFileSync(path.join(out, "README.md"), "mine");
  const refused = gblr(fixture("variants.ckpt"), "--out", out);
  expect(refused).toEqual({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(/^gblr: .* already has [^ ]+; pass --force to replace it\n$/),
  });
  expect(gblr(fixture("variants.ckpt"), "--out", out, "--force").code).toBe(0);
  expect(readdirSync(out).sort()).toEqual(["README.md", "model.safetensors"]);
});

test("import makes a model of a checkpoint with the authors' GBLR layers, and says what it is", async () => {
  const out = at("gpt2");
  const tiny = fixture("tiny-gpt2-gaudi.ckpt");
  const headless = gblr(tiny, "--out", out);
  expect({ code: headless.code, there: existsSync(out) }).toEqual({ code: 1, there: false });
  expect(headless.stderr).toMatch(/^gblr: [^\n]+does not tell how many heads it has[^\n]+\n$/);
  const { code, stdout, stderr } = gblr(tiny, "--out", out, "--heads", "2", "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const summary = JSON.parse(stdout);
  expect(summary).toMatchObject({ file: tiny, out, type: "gpt2", layers: 6 });
  expect(summary).not.toHaveProperty("sigma");
  expect(summary.files).toEqual(readdirSync(out).sort());
  expect(summary.files).toContain("trainable.safetensors");
  const refused = gblr(tiny, "--out", out, "--heads", "2");
  expect(refused.stderr).toMatch(/^gblr: .* already has config\.json; pass --force to replace it\n$/);
  const smooth = gblr(tiny, "--out", out, "--heads", "2", "--force");
  expect(smooth.stdout).toContain("gpt2 with 6 GBLR matrices, boxcar masks; ");
}, 60_000);

/** Weights of a small ResNet behind `backbone.`, as a script saves them. */
async function someWeights(name: string, change: (tensors: Map<string, StoredTensor>) => void = () => {}) {
  await openEngine();
  const model = smallResnet() as Model;
  await saveModelNow(model, at(`${name}-source`));
  model.dispose();
  const tensors = await readSafetensors(at(`${name}-source`, "model.safetensors"));
  change(tensors);
  const wrapped = new Map([...tensors].map(([own, tensor]) => [`backbone.${own}`, tensor]));
  writeFileSync(at(`${name}.pth`), checkpointOf(wrapped, push.dict({ epochs: push.int(3) })));
  return at(`${name}.pth`);
}

test("import makes a model of weights alone, which the other verbs take, and says what it assumed", async () => {
  const file = await someWeights("resnet");
  const out = at("resnet");
  const { code, stdout, stderr } = gblr(file, "--out", out, "--image-size", "24");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.split("\n")).toEqual([
    `${file} → ${out}`,
    "  recognized as resnet18 with 5 classes: 37 tensors, 71.7 kB",
    "  assumed mean of red, green and blue 0.485,0.456,0.406 (--mean)",
    "  assumed standard deviation 0.229,0.224,0.225 (--std)",
    "  assumed bilinear resizing, crop 0.875 center (--interpolation, --crop, --crop-mode of eval acc)",
    "  written model.safetensors, config.json, hyperparameters.json",
    "",
  ]);
  const headed = gblr(file, "--out", out, "--heads", "2");
  expect(headed).toEqual({
    code: 2,
    stdout: "",
    stderr: `gblr: --heads does not apply to ${file}, a dense resnet; leave it out\n`,
  });
  const again = gblr(file, "--out", out);
  expect(again.stderr).toMatch(/^gblr: .* already has config\.json; pass --force to replace it\n$/);
  const json = gblr(file, "--out", out, "--force", "--json", "--mean", "0,0,0", "--std", "1,1,1");
  expect(JSON.parse(json.stdout)).toEqual({
    file,
    out,
    type: "resnet",
    name: "resnet18",
    classes: 5,
    tensors: 37,
    bytes: 71_684,
    assumed: { imageSize: 224, interpolation: "bilinear", cropShare: 0.875, cropMode: "center" },
    leftOut: [],
    files: ["model.safetensors", "config.json", "hyperparameters.json"],
  });
  for (const args of [
    ["inspect", out],
    ["convert", out, "--structure", "lowrank", "--budget", "0.6", "--out", at("resnet-lowrank")],
    ["export", at("resnet-lowrank"), "--to", "dense", "--out", at("resnet-dense")],
  ]) {
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, GBLR, ...args]);
    expect({ args, exitCode, stderr: exitCode === 0 ? "" : stderr.toString() }).toEqual({
      args,
      exitCode: 0,
      stderr: "",
    });
  }
}, 60_000);

test("import reports a head that is missing or has several layers, and finetune --new-head makes one", async () => {
  const isHead = (name: string) => name.startsWith("fc.");
  const bare = await someWeights("bare", (tensors) => {
    for (const name of [...tensors.keys()].filter(isHead)) tensors.delete(name);
  });
  const out = at("bare");
  const imported = gblr(bare, "--out", out, "--image-size", "24");
  expect({ code: imported.code, stderr: imported.stderr }).toEqual({ code: 0, stderr: "" });
  expect(imported.stdout).toContain("recognized as resnet18 without a head: 35 tensors");
  expect(imported.stdout).toContain(`  missing the head: gblr finetune ${out} --new-head trains one\n`);
  const { dataset } = await madeImages(at("bare-images"), { count: 12, classes: 2, size: 24 });
  const splits = ["--validation-split", "train", "--test-split", "train", "--epochs", "1", "--batch", "4"];
  const run = (...args: string[]) => {
    const asked = ["finetune", out, "--dataset", dataset, ...splits, ...args];
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, GBLR, ...asked]);
    return { code: exitCode, stderr: stderr.toString() };
  };
  const headless = run("--run", at("bare-refused"));
  expect(headless.code).toBe(1);
  expect(headless.stderr).toMatch(
    /config\.json: num_classes is 0: expected at least 1; gblr finetune --new-head adds a head/,
  );
  expect(run("--new-head", "--run", at("bare-run"))).toMatchObject({ code: 0 });
  expect(JSON.parse(readFileSync(at("bare-run", "model", "config.json"), "utf8"))).toMatchObject({ num_classes: 2 });

  const deep = await someWeights("deep", (tensors) => {
    tensors.set("fc.3.weight", tensors.get("fc.weight") as StoredTensor);
  });
  const refused = gblr(deep, "--out", at("deep"));
  expect({ code: refused.code, stderr: refused.stderr, there: existsSync(at("deep")) }).toEqual({
    code: 1,
    stderr: `gblr: ${deep}: has a head of 2 layers, fc, fc.3, instead of one; leave the head out with --drop-head\n`,
    there: false,
  });
  const dropped = gblr(deep, "--out", at("deep"), "--drop-head");
  expect(dropped.stdout).toContain("  left out 3 tensors, such as fc.");
}, 120_000);

test("import keeps the tensors of weights that it cannot make a model of, and says why", async () => {
  const headless = await someWeights("headless", (tensors) => void tensors.delete("fc.weight"));
  const { code, stdout } = gblr(headless, "--out", at("headless"));
  expect(code).toBe(0);
  expect(stdout).toContain(
    'missing config.json, which other verbs need: tensor "fc.weight": is missing, must be (5, 12)',
  );
  expect(readdirSync(at("headless")).sort()).toEqual(["hyperparameters.json", "model.safetensors"]);
  const other = gblr(fixture("variants.ckpt"), "--out", at("unknown"), "--json");
  expect(JSON.parse(other.stdout).noConfig).toMatch(/^its tensors are not those of a GPT-2, /);
  const asked = gblr(headless, "--out", at("asked"), "--image-size", "24");
  expect({ code: asked.code, stderr: asked.stderr }).toEqual({
    code: 1,
    stderr: `gblr: ${headless}: tensor "fc.weight": is missing, must be (5, 12)\n`,
  });
  expect(existsSync(at("asked"))).toBe(false);
  expect(gblr(headless, "--out", at("raw"), "--raw").stdout).not.toContain("missing");
});

test.each([
  ["bad-os-system.ckpt", 'the global "posix.system"'],
  ["bad-crc.ckpt", "is damaged"],
  ["bad-empty.ckpt", "is empty"],
  ["bad-deep-nesting.ckpt", "nests values"],
  ["none.ckpt", "no such file"],
])("import of %s exits 1 with one line, and leaves no folder", (name, message) => {
  const { code, stdout, stderr } = gblr(fixture(name), "--out", at("bad"), "--json");
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toStartWith(`gblr: ${fixture(name)}: `);
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(existsSync(at("bad"))).toBe(false);
});

test("a failed import leaves the model that was there", () => {
  const out = at("kept");
  gblr(fixture("tiny-gpt2-gaudi.ckpt"), "--raw", "--out", out);
  const before = readFileSync(path.join(out, "model.safetensors"));
  expect(gblr(fixture("bad-crc.ckpt"), "--out", out, "--force").code).toBe(1);
  expect(readFileSync(path.join(out, "model.safetensors")).equals(before)).toBe(true);
  expect(readdirSync(out).sort()).toEqual(["hyperparameters.json", "model.safetensors"]);
});

test("a place that cannot be a folder is an error", () => {
  writeFileSync(at("file"), "");
  const { code, stderr } = gblr(fixture("variants.ckpt"), "--out", at("file"));
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: `gblr: ${at("file")}: cannot be created as a folder: a file is there\n`,
  });
});

test.each([
  [["--out", "y"], "missing required argument 'file'"],
  [["x.ckpt"], "--out"],
  [["x.ckpt", "--out", "y", "--max-shard-size", "some"], "such as 500MB"],
  [["x.ckpt", "--out", "y", "--max-shard-size", "0"], "such as 500MB"],
  [["x.ckpt", "--out", "y", "--colour"], "--colour"],
  [["x.ckpt", "--out", "y", "--heads", "0"], "--heads"],
  [["x.ckpt", "--out", "y", "--masks", "round"], "gaussian, boxcar"],
  [["x.ckpt", "--out", "y", "--mean", "0.5,0.5"], "three numbers such as 0.485,0.456,0.406"],
  [["x.ckpt", "--out", "y", "--rope-theta", "1"], "a number above 1 such as 10000"],
  [[fixture("variants.ckpt"), "--out", "y", "--drop-head"], "--drop-head does not apply to"],
  [["x.ckpt", "--out", "y", "--std", "1,0,1"], "three numbers above 0"],
  [[fixture("variants.ckpt"), "--out", "y", "--image-size", "32"], "--image-size does not apply to"],
  [[fixture("tiny-gpt2-gaudi.ckpt"), "--out", "y", "--mean", "0,0,0"], "--mean does not apply to"],
  [[fixture("variants.safetensors"), "--out", "y", "--raw"], "which is in safetensors already"],
  [[fixture("variants.ckpt"), "--out", "y", "--masks", "boxcar"], "--masks does not apply to"],
  [[fixture("tiny-gpt2-gaudi.ckpt"), "--out", "y", "--raw", "--heads", "2"], "--heads does not apply with --raw"],
])("bad usage exits 2 with one line: gblr import %p", (args, named) => {
  const { code, stdout, stderr } = gblr(...args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(named);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});

const deno = path.join(import.meta.dir, "../../node_modules/.bin/deno");

test.skipIf(!existsSync(deno))("import runs under Deno too, deflated and legacy checkpoints included", async () => {
  for (const name of ["tiny-gpt2-gaudi-deflated", "tiny-gpt2-gaudi-legacy"]) {
    const args = ["run", "-A", GBLR, "import", fixture(`${name}.ckpt`), "--raw", "--out", at("deno", name)];
    expect(Bun.spawnSync([deno, ...args], { stderr: "inherit" }).exitCode).toBe(0);
    const expected = await readSafetensors(fixture("tiny-gpt2-gaudi.safetensors"));
    expect(bitsByName(await readSafetensors(at("deno", name, "model.safetensors")))).toEqual(bitsByName(expected));
  }
});
