// `gblr export --to onnx` as a user runs it: what it writes where, and what it refuses.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { addExport } from "../../workbench/cli/export.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { smallVit, someImages } from "../architectures/small-vision.ts";
import { converted, tinyModel } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import {
  expectSame,
  fedIds,
  fedImages,
  hasOnnx,
  logitsOfIds,
  logitsOfImages,
  runOnnx,
} from "../export/onnx/runtime.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { PATIENCE } from "../python/python.ts";
import { runVerb } from "./in-process.ts";

const at = temporaryFolder();
const VOCABULARY = 50;

const gblr = (...args: string[]) => runVerb(addExport, ["export", ...args, "--engine", "cpu"]);
const toOnnx = (model: string, out: string, ...args: string[]) =>
  gblr(at(model), "--to", "onnx", "--out", at(out), ...args);

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  for (const structure of ["gblr", "monarch"]) {
    const model = tinyModel();
    await converted(model, await planConversion(model, { structure, budget: 0.7 }));
    await saveModelNow(model, at(structure));
    model.dispose();
  }
  writeTinyTokenizer(at("gblr"));
  const vit = smallVit();
  await saveModelNow(vit, at("vit"));
  vit.dispose();
});

describe("a folder", () => {
  test.skipIf(!hasOnnx)(
    "has the layout of Hugging Face's repositories, and the model's logits",
    async () => {
      const { code, stdout, stderr } = await toOnnx("gblr", "folder", "--with-past");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(/folder: [\d.]+ kB of float32, 6 layers structured\n$/);
      expect(readdirSync(at("folder")).sort()).toEqual([
        "config.json",
        "onnx",
        "tokenizer.json",
        "tokenizer_config.json",
      ]);
      expect(readdirSync(at("folder", "onnx"))).toEqual(["model.onnx"]);
      const config = JSON.parse(readFileSync(at("folder", "config.json"), "utf8"));
      expect(config).toMatchObject({ model_type: "gpt2", n_layer: 2 });
      for (const field of ["gblr", "auto_map", "transformers.js_config"]) expect(config).not.toHaveProperty(field);
      const [answer] = await runOnnx({
        file: at("folder", "onnx", "model.onnx"),
        runs: [{ ids: fedIds(2, 9), lengths: [4, 5], padding: [0, 0] }],
      });
      const model = (await loadModelNow(at("gblr"))) as Model;
      expectSame(answer?.results[0], [2, 9, VOCABULARY], await logitsOfIds(model, 2, 9));
      model.dispose();
    },
    PATIENCE,
  );

  test("of the model itself gets the ONNX file only", async () => {
    const before = readFileSync(at("vit", "config.json"), "utf8");
    const { code, stdout } = await toOnnx("vit", "vit", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ to: "onnx", layers: [], files: ["model.onnx"] });
    expect(readFileSync(at("vit", "config.json"), "utf8")).toBe(before);
    expect(existsSync(at("vit", "onnx", "model.onnx"))).toBe(true);
  });

  test("that has an ONNX model keeps it without --force", async () => {
    mkdirSync(at("taken", "onnx"), { recursive: true });
    const file = at("taken", "onnx", "model.onnx");
    writeFileSync(file, "old");
    const refused = await toOnnx("gblr", "taken");
    expect(refused).toEqual({ code: 1, stdout: "", stderr: `gblr: ${file} exists; pass --force to replace it\n` });
    expect(readFileSync(file, "utf8")).toBe("old");
    expect((await toOnnx("gblr", "taken", "--force")).code).toBe(0);
    expect(readFileSync(file, "utf8")).not.toBe("old");
  });

  test("of another model is refused, with --force too", async () => {
    const { code, stderr } = await toOnnx("gblr", "monarch", "--force");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `gblr: ${at("monarch")} has model.safetensors of another model; give another folder, or that of the model\n`,
    });
  });
});

test.skipIf(!hasOnnx)(
  "a name that ends in .onnx is a file, in a folder that is made",
  async () => {
    expect((await toOnnx("vit", path.join("new", "vit.onnx"))).code).toBe(0);
    expect(readdirSync(at("new"))).toEqual(["vit.onnx"]);
    const images = someImages(2, 16);
    const runs = [{ inputs: { pixel_values: await fedImages(images) } }];
    const [answer] = await runOnnx({ file: at("new", "vit.onnx"), runs });
    const model = (await loadModelNow(at("vit"))) as Model;
    expectSame(answer?.results[0], [2, 5], await logitsOfImages(model, images));
    model.dispose();
  },
  PATIENCE,
);

test.skipIf(!hasOnnx).each(["float16", "bfloat16"])(
  "in %s it has about half the bytes, and the logits of --to packed in that type",
  async (dtype) => {
    const out = `${dtype}.onnx`;
    const { code, stdout } = await toOnnx("gblr", out, "--dtype", dtype, "--json");
    expect(code).toBe(0);
    const whole = JSON.parse((await toOnnx("gblr", `whole ${out}`, "--json")).stdout);
    expect(JSON.parse(stdout).bytes / whole.bytes).toBeLessThan(0.7);
    expect((await gblr(at("gblr"), "--to", "packed", "--dtype", dtype, "--out", at(dtype))).code).toBe(0);
    const [answer] = await runOnnx({ file: at(out), runs: [{ inputs: { input_ids: fedIds(2, 9) } }] });
    const model = (await loadModelNow(at(dtype))) as Model;
    expectSame(answer?.results[0], [2, 9, VOCABULARY], await logitsOfIds(model, 2, 9));
    expect(answer?.run.includes("Cast")).toBe(false);
    model.dispose();
  },
  PATIENCE,
);

test.each([
  ["vit", ["--to", "onnx", "--with-past"], 2, "--with-past is for language models"],
  ["gblr", ["--to", "dense", "--with-past"], 2, "--with-past is for --to onnx, not dense"],
  ["monarch", ["--to", "onnx"], 1, "h.0.attn.c_attn is monarch; export with --to dense first"],
])("%s with %j is refused in one line", async (model, args, status, named) => {
  const { code, stdout, stderr } = await gblr(at(model), ...args, "--out", at("bad"));
  expect({ code, stdout }).toEqual({ code: status, stdout: "" });
  expect(stderr).toContain(named);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(existsSync(at("bad"))).toBe(false);
});
