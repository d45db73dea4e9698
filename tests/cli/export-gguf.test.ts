// `gblr export --to gguf` as a user runs it: what it writes where, and what it refuses.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openGguf } from "../../hub/gguf/index.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit } from "../architectures/small-vision.ts";
import { converted, tinyModel } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runVerb } from "./in-process.ts";

const at = temporaryFolder();
const toGguf = (model: string, out: string, ...args: string[]) =>
  runVerb(addExport, ["export", at(model), "--to", "gguf", "--out", at(out), "--engine", "cpu", ...args]);

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  const model = tinyModel(3, { vocab_size: 300 });
  await converted(model, await planConversion(model, { structure: "gblr", budget: 0.7 }));
  await saveModelNow(model, at("small"));
  model.dispose();
  writeTinyTokenizer(at("small"));
  const vit = smallVit();
  await saveModelNow(vit, at("vit"));
  vit.dispose();
});

test("a file is written, in a folder that is made, under the model's name", async () => {
  const out = path.join("new", "small.gguf");
  const { code, stdout, stderr } = await toGguf("small", out, "--dtype", "bfloat16");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/small\.gguf: [\d.]+ kB of bfloat16, \d layers merged to dense\n$/);
  expect(readdirSync(at("new"))).toEqual(["small.gguf"]);
  const { metadata, tensors, close } = await openGguf(at(out));
  await close();
  expect(metadata.text("general.name")).toBe("small");
  expect(metadata.text("general.architecture")).toBe("gpt2");
  expect(tensors.get("blk.0.ffn_up.weight")?.type.name).toBe("BF16");
});

test("--json is one document, with the layers that were structured", async () => {
  const { code, stdout, stderr } = await toGguf("small", "json.gguf", "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const { layers, bytes, ...facts } = JSON.parse(stdout);
  expect(facts).toEqual({
    model: at("small"),
    to: "gguf",
    out: at("json.gguf"),
    dtype: "float32",
    files: ["json.gguf"],
  });
  expect(layers).toContain("h.0.mlp.c_fc");
  expect(bytes).toBeLessThan(readFileSync(at("json.gguf")).length);
});

test("a file is replaced with --force only", async () => {
  writeFileSync(at("taken.gguf"), "old");
  const refused = await toGguf("small", "taken.gguf");
  const stderr = `gblr: ${at("taken.gguf")} exists; pass --force to replace it\n`;
  expect(refused).toEqual({ code: 1, stdout: "", stderr });
  expect(readFileSync(at("taken.gguf"), "utf8")).toBe("old");
  expect((await toGguf("small", "taken.gguf", "--force")).code).toBe(0);
  expect(readFileSync(at("taken.gguf"), "latin1")).toStartWith("GGUF");
});

test.each<[string, string, number, string]>([
  ["small", "folder", 2, "--to gguf writes one file; --out must end in .gguf"],
  ["vit", "bad.gguf", 1, "GGUF files hold models of gpt2 and llama; this is vit; export with --to dense or --to onnx"],
  ["small", "is-folder.gguf", 1, "is a folder; give a file"],
])("%s to %s is refused in one line", async (model, out, status, named) => {
  mkdirSync(at("is-folder.gguf"), { recursive: true });
  const { code, stdout, stderr } = await toGguf(model, out);
  expect({ code, stdout }).toEqual({ code: status, stdout: "" });
  expect(stderr).toContain(named);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(existsSync(at("bad.gguf"))).toBe(false);
});
