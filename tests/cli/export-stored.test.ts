// `gblr export --dtype`: the card of the folder, and --check, which measures the model as it is and as it is stored.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { frontMatter } from "../../hub/card/index.ts";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addEval } from "../../workbench/cli/eval.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit } from "../architectures/small-vision.ts";
import { saveSized } from "../compress/sizes/sized.ts";
import { madeImages } from "../data/images/made-images.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";
import { writeTinySources } from "./tiny-sources.ts";

setDefaultTimeout(120_000);

const at = temporaryFolder();
const ENGINE = ["--engine", "wasm"];
const CHECK = () => ["--check", at("text"), "--check-context", "24", "--check-samples", "20"];
runOffline(at("cache"));

const exported = (...args: string[]) => runVerb(addExport, ["export", ...args, ...ENGINE]);
const cardIn = (folder: string) => readFileSync(at(folder, "README.md"), "utf8");
const bytesIn = (folder: string) => statSync(at(folder, "model.safetensors")).size;

async function perplexity(folder: string): Promise<number> {
  const args = ["--dataset", at("text"), "--context", "24", "--limit", "20", "--json"];
  const { code, stdout, stderr } = await runVerb(addEval, ["eval", "ppl", folder, ...args, ...ENGINE]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return (JSON.parse(stdout) as { perplexity: number }).perplexity;
}

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  await writeTinySources(at, ["train", "test"]);
  const args = ["--structure", "lowrank", "--budget", "0.6", "--out", at("lowrank")];
  expect((await runVerb(addConvert, ["convert", at("dense"), ...args, ...ENGINE])).stderr).toBe("");
});

test.each([
  ["lowrank", "packed", "int8"],
  ["lowrank", "packed", "bfloat16"],
  ["lowrank", "dense", "float16"],
  ["dense", "dense", "int8"],
])("%s to %s in %s: one line and the card have the perplexities that eval ppl finds", async (from, to, dtype) => {
  const out = `${from} ${to} ${dtype}`;
  const args = [at(from), "--to", to, "--dtype", dtype, "--out", at(out), ...CHECK()];
  const { code, stdout, stderr } = await exported(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [before, after] = [await perplexity(at(from)), await perplexity(at(out))];
  expect(after).not.toBe(before);
  const [, line] = stdout.split("\n");
  expect(line).toStartWith(`check on ${at("text")}, test: perplexity ${before.toFixed(2)} → ${after.toFixed(2)} (`);
  const card = cardIn(out);
  expect(card).toContain("## Stored numbers");
  const rows = [...card.matchAll(/^\| (before the export|this one) \| ([\d.]+ kB) \| ([\d.]+) \|$/gm)];
  expect(rows.map(([, , , value]) => value)).toEqual([before.toFixed(2), after.toFixed(2)]);
  const kilobytes = rows.map(([, , size = ""]) => Number.parseFloat(size));
  for (const [i, folder] of [from, out].entries()) {
    expect(Math.abs((kilobytes[i] as number) / (bytesIn(folder) / 1000) - 1)).toBeLessThan(0.01);
  }
});

test("the document for machines has the bytes and the measurements, and the card without --check the bytes", async () => {
  const args = [at("lowrank"), "--to", "packed", "--dtype", "int8", "--json", "--out"];
  const plain = JSON.parse((await exported(...args, at("plain"))).stdout);
  expect(plain).not.toHaveProperty("check");
  expect(plain.fileBytes).toEqual({ before: bytesIn("lowrank"), after: bytesIn("plain") });
  expect(plain.files).toContain("README.md");
  expect(cardIn("plain")).toMatch(/\| this one \| [\d.]+ kB \|\n/);
  const { check } = JSON.parse((await exported(...args, at("checked"), ...CHECK())).stdout);
  const measured = { before: await perplexity(at("lowrank")), after: await perplexity(at("checked")) };
  expect(check).toEqual({ dataset: `${at("text")}, test`, metric: "perplexity", ...measured });
});

test("the card has the metadata of the card of the exported model", async () => {
  cpSync(at("dense"), at("licensed"), { recursive: true });
  writeFileSync(at("licensed", "README.md"), "---\nlicense: mit\nlanguage: [fr]\n---\n# my words\n");
  await exported(at("licensed"), "--to", "dense", "--dtype", "bfloat16", "--out", at("copy"));
  expect(frontMatter(cardIn("copy"))).toMatchObject({ license: "mit", language: ["fr"] });
  expect(cardIn("licensed")).toContain("# my words");
});

test("a card of somebody else in the folder stays", async () => {
  cpSync(at("dense"), at("theirs"), { recursive: true });
  writeFileSync(at("theirs", "README.md"), "---\ntags: [mine]\n---\n# my words\n");
  const args = ["--to", "dense", "--dtype", "bfloat16", "--out", at("theirs"), "--force"];
  expect((await exported(at("theirs"), ...args)).code).toBe(0);
  expect(cardIn("theirs")).toBe("---\ntags: [mine]\n---\n# my words\n");
});

test("a model of several sizes that is stored smaller still has its sizes on the card, a cut of it has none", async () => {
  await saveSized(at("sizes"), "lowrank", "activation");
  const args = [at("sizes"), "--to", "packed", "--dtype", "int8", "--out"];
  await exported(...args, at("small sizes"));
  expect(cardIn("small sizes")).toContain("all sizes from 30.0 % to 70.0 %");
  await exported(...args, at("small cut"), "--keep", "0.5");
  expect(cardIn("small cut")).not.toContain("## Sizes");
  // What is before the export is the cut, and not the folder with all sizes.
  await exported(at("sizes"), "--out", at("cut"), "--keep", "0.5");
  const { fileBytes } = JSON.parse((await exported(...args, at("told"), "--keep", "0.5", "--json")).stdout);
  expect(fileBytes.after).toBe(bytesIn("told"));
  const header = 8 + Number(readFileSync(at("cut", "model.safetensors")).readBigUInt64LE());
  expect(fileBytes.before).toBe(bytesIn("cut") - header);
  expect(fileBytes.before).toBeLessThan(bytesIn("sizes") - header);
});

test("a float32 folder has no card, as before", async () => {
  await exported(at("lowrank"), "--to", "dense", "--out", at("float32"));
  expect(existsSync(at("float32", "README.md"))).toBe(false);
});

test("a classifier is checked by its accuracy", async () => {
  const vit = smallVit();
  await saveModelNow(vit as never, at("vit"), {});
  vit.dispose();
  const { dataset } = await madeImages(at("images"), { count: 15, classes: 5 });
  const args = ["--to", "dense", "--dtype", "int8", "--check", dataset, "--check-split", "train"];
  const { code, stdout } = await exported(at("vit"), ...args, "--out", at("vit small"));
  expect(code).toBe(0);
  expect(stdout).toMatch(/\ncheck on [^\n]*: top-1 accuracy [\d.]+ % → [\d.]+ % \([+−][\d.]+ points\)\n/);
  expect(cardIn("vit small")).toContain("| top-1 accuracy |");
});

test.each([
  [["--to", "dense", "--check", "x"], "--check measures what --dtype changes"],
  [["--to", "dense", "--dtype", "int8", "--check-split", "test"], "--check-split needs --check"],
  [["--to", "reference", "--check", "x"], "--check is for --to packed and dense, not reference"],
])("%j is refused in one line", async (args, reason) => {
  const { code, stderr } = await exported(at("dense"), ...args, "--out", at("none"));
  expect(code).toBe(2);
  expect(stderr).toContain(reason);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
});

test("a check on data that does not exist writes nothing", async () => {
  const args = ["--to", "dense", "--dtype", "int8", "--check", at("no such data"), "--out", at("none")];
  const { code, stderr } = await exported(at("dense"), ...args);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^gblr: [^\n]+\n$/);
  expect(existsSync(at("none"))).toBe(false);
});

test("convert --dtype int8 is refused with the two commands to run", async () => {
  const args = ["--structure", "lowrank", "--budget", "0.5", "--dtype", "int8", "--out", at("none")];
  const { code, stderr } = await runVerb(addConvert, ["convert", at("dense"), ...args, ...ENGINE]);
  expect(code).toBe(2);
  expect(stderr).toContain(
    "run `gblr convert` without it and with --out FOLDER, then `gblr export FOLDER --to packed --dtype int8 --out SMALL`.\n",
  );
});
