// Names that every JavaScript object has are plain names here: of splits, configurations, columns, tokens, tensors, layers,
// keys of a checkpoint, architectures.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../hub/checkpoint/index.ts";
import { findLayers, openModel } from "../../hub/model-folder/index.ts";
import { pull } from "../../hub/pull/index.ts";
import { pythonConfig } from "../../hub/python/index.ts";
import { openSafetensors, writeSafetensors } from "../../hub/safetensors/index.ts";
import { rowsOf } from "../../workbench/data/dataset/rows.ts";
import { dataFilePatterns, splitFiles } from "../../workbench/data/dataset/split-files.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { readConfig } from "../../workbench/models/folder/load.ts";
import { checkpoint, push, tensor } from "../hub/checkpoint/build.ts";
import { lay, testHub } from "../hub/serve/serving.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { ALPHABET, writeTinyTokenizer } from "./hub-folders.ts";
import { setUp, tokensOf } from "./text-set.ts";
import { parquetFile } from "./write-parquet.ts";

const folder = temporaryFolder();
const NAMES = ["constructor", "__proto__", "toString", "valueOf", "hasOwnProperty"];
const each = NAMES.map((name) => [name] as const);

describe("a data set's names", () => {
  test.each(each)("%s of a file, a folder, a split or a configuration is as any other", (name) => {
    const found = (paths: string[], readme?: string) =>
      splitFiles(paths, { dataset: "set", split: name, ...(readme !== undefined && { readme }) }).files;
    // A name that is no split's is of the training data, by the Hub's conventions.
    for (const path of [`${name}.jsonl`, `data/${name}.txt`]) {
      expect(splitFiles([path], { dataset: "set", split: "train" })).toEqual({
        config: "default",
        split: "train",
        files: [path],
      });
    }
    expect(splitFiles([`${name}/test.txt`], { dataset: "set", split: "test" }).config).toBe(name);
    expect(found([`${name}-00000-of-00001.parquet`])).toEqual([`${name}-00000-of-00001.parquet`]);
    const readme = `---\nconfigs:\n- config_name: ${name}\n  data_files:\n    ${name}: a/*.txt\n    train: b.txt\n---\n`;
    expect(found(["a/1.txt", "b.txt"], readme)).toEqual(["a/1.txt"]);
    expect(dataFilePatterns({ split: name })).toContain(`${name}[-._]*`);
    expect(() => splitFiles(["train.txt"], { dataset: "set", split: name })).toThrow(
      `set: has no split "${name}" in configuration "default"; available: train`,
    );
  });

  test.each(each)("column %s is read from JSON lines and from parquet", async (name) => {
    const options = setUp(folder(name), `{"${name}":"the and"}\n`, "train.jsonl");
    const { tokens } = await tokensOf({ ...options, column: name });
    expect(tokens.length).toBe((await openTokenizer(options.tokenizer)).encode("the and").length);
    writeFileSync(folder("a.parquet"), parquetFile([{ id: [1, 2], [name]: ["one", "two"] }]));
    expect(await Array.fromAsync(rowsOf(folder("a.parquet"), name))).toMatchObject([{ texts: ["one", "two"] }]);
    await expect(Array.fromAsync(rowsOf(folder("a.parquet"), "text"))).rejects.toThrow(`available: id, ${name}`);
  });

  test("files of these names come through a Hub and its cache", async () => {
    const hub = await testHub();
    const files = Object.fromEntries(NAMES.map((name) => [name, `of ${name}\n`]));
    lay(join(hub.folder, "datasets/me/set"), { ...files, "README.md": "---\nlicense: mit\n---\n" });
    const access = { endpoint: hub.url, cache: folder("hub") };
    const pulledFolder = async (offline: boolean) => {
      const repo = { type: "dataset", id: "me/set", revision: "main" } as const;
      for await (const event of pull(repo, { ...access, offline })) if (event.kind === "pulled") return event.folder;
      throw new Error("not pulled");
    };
    for (const offline of [false, true]) {
      const at = await pulledFolder(offline);
      for (const name of NAMES) expect(readFileSync(join(at, name), "utf8")).toBe(`of ${name}\n`);
    }
  });
});

test.each(each)("the token %s has its id, and comes back", async (name) => {
  const ends = Array.from({ length: name.length - 1 }, (_, i) => i + 2);
  const merges = ends.map((end) => [name.slice(0, end - 1), name[end - 1]]);
  // Both underscores at the end are one token by then.
  if (name === "__proto__") merges.push(["__proto", "__"]);
  const entries = [...ALPHABET, ...ends.map((end) => name.slice(0, end))];
  const vocab = Object.fromEntries(entries.map((entry, id) => [entry, id]));
  const pre_tokenizer = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  const parts = { model: { vocab, merges }, pre_tokenizer, added_tokens: [] };
  const tokenizer = await openTokenizer(writeTinyTokenizer(folder(`token ${name}`), parts));
  const ids = tokenizer.encode(name);
  expect([...ids]).toEqual([entries.length - 1]);
  expect(tokenizer.decode(ids)).toBe(name);
});

test("added tokens of these names have their ids", async () => {
  // Tokens that the vocabulary lacks get the ids after it, as in Hugging Face's tokenizers.
  const { vocabSize: first } = await openTokenizer(writeTinyTokenizer(folder("plain")));
  const added_tokens = NAMES.map((content, i) => ({ id: first + i, content, special: i % 2 === 0 }));
  const tokenizer = await openTokenizer(writeTinyTokenizer(folder("added"), { added_tokens }));
  for (const [i, name] of NAMES.entries()) {
    expect([...tokenizer.encode(name)]).toEqual([first + i]);
    expect(tokenizer.decode([first + i])).toBe(name);
  }
});

test("tensors, metadata and layers of these names are read and listed", async () => {
  const at = folder("model");
  mkdirSync(at);
  const data = Float32Array.of(1, 2, 3, 4, 5, 6);
  const tensors = NAMES.flatMap((name) => [
    { name: `${name}.weight`, dtype: "F32" as const, shape: [2, 3], data },
    { name, dtype: "F32" as const, shape: [6], data },
    { name: `low.${name}.left`, dtype: "F32" as const, shape: [3, 2], data },
    { name: `low.${name}.right`, dtype: "F32" as const, shape: [2, 3], data },
  ]);
  const metadata = new Map(NAMES.map((name) => [name, `of ${name}`]));
  await writeSafetensors(join(at, "model.safetensors"), tensors, { metadata });
  const file = await openSafetensors(join(at, "model.safetensors"));
  for (const name of NAMES) {
    expect((await file.read(name)).data).toEqual(data);
    expect(file.metadata.get(name)).toBe(`of ${name}`);
  }
  await expect(file.read("isPrototypeOf")).rejects.toThrow('has no tensor "isPrototypeOf"');
  await file.close();
  const settings = JSON.stringify({ structure: "lowrank", n_in: 3, n_out: 3 });
  const layers = NAMES.map((name) => `"low.${name}": ${settings}`).join(", ");
  writeFileSync(join(at, "config.json"), `{"gblr": {"format": 1, "layers": {${layers}}}}`);
  const model = await openModel(at);
  const found = findLayers(model).layers.map(({ name }) => name);
  expect(found.sort()).toEqual(NAMES.flatMap((name) => [name, `low.${name}`]).sort());
  await model.tensors.close();
});

test("keys of a checkpoint of these names are tensors and values like others", async () => {
  const view = tensor({ length: 2, shape: [2], strides: [1] });
  const values = Object.fromEntries(NAMES.map((name) => [name, push.int(3)]));
  const state = Object.fromEntries(NAMES.map((name) => [name, view]));
  const root = push.dict({ state_dict: push.dict(state), hyper_parameters: push.dict(values), ...values });
  const path = folder("weights.ckpt");
  writeFileSync(path, checkpoint(root, { "0": new Uint8Array(Float32Array.of(1, 2).buffer) }));
  const opened = await openCheckpoint(path);
  expect([...opened.tensors.keys()].sort()).toEqual([...NAMES].sort());
  for (const name of NAMES) {
    expect((await opened.read(name)).data).toEqual(Float32Array.of(1, 2));
    expect(Object.hasOwn(opened.rest, name) && opened.rest[name]).toBe(3);
    expect(Object.entries(opened.rest.hyper_parameters as object)).toContainEqual([name, 3]);
  }
  await opened.close();
});

test.each(each)("no architecture is called %s", async (name) => {
  const at = folder(`config ${name}`);
  mkdirSync(at);
  for (const json of [{ architecture: name }, { model_type: name }]) {
    writeFileSync(join(at, "config.json"), JSON.stringify(json));
    await expect(readConfig(at)).rejects.toThrow(/config\.json: (architecture|model_type) is "[^"]+", there is /);
  }
  expect(pythonConfig({ model_type: name, x: 1 }, true)).toEqual({ model_type: `gblr_${name}`, x: 1 });
});
