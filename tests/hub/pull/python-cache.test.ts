// A cache that Python's client has filled file by file: refs, snapshots and blobs, and no listing. Without a network its
// snapshot is used, and an error names only what is needed and not there.

import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { temporaryFolder } from "../temporary.ts";
import { failureOf, pullAll } from "./pulling.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const at = temporaryFolder();

/** A snapshot of these files as Python's client leaves it; a file of null is a link to a blob that is gone. */
function fill(name: string, files: Record<string, string | null>, folder = "models--x--y"): string {
  const repo = at(name, folder);
  for (const part of ["refs", "blobs"]) mkdirSync(path.join(repo, part), { recursive: true });
  writeFileSync(path.join(repo, "refs/main"), COMMIT);
  for (const [i, [file, content]] of Object.entries(files).entries()) {
    const blob = path.join(repo, "blobs", String(i).padStart(40, "a"));
    const pointer = path.join(repo, "snapshots", COMMIT, file);
    if (content !== null) writeFileSync(blob, content);
    mkdirSync(path.dirname(pointer), { recursive: true });
    symlinkSync(path.relative(path.dirname(pointer), blob), pointer);
  }
  return at(name);
}

const offline = (cache: string) => ({ endpoint: "http://127.0.0.1:64999", cache, offline: true });
const MODEL = ["config.json", "model.safetensors", "model-*-of-*.safetensors", "README.md"];

test("a snapshot without a listing is used, files in folders too", async () => {
  const cache = fill("whole", { "config.json": "{}", "model.safetensors": "1", "data/a.txt": "a", "onnx/b": "b" });
  const { pulled } = await pullAll(offline(cache));
  expect(pulled).toEqual({
    kind: "pulled",
    folder: path.join(cache, "models--x--y/snapshots", COMMIT),
    commit: COMMIT,
    files: ["config.json", "data/a.txt", "model.safetensors", "onnx/b"],
  });
  expect((await pullAll(offline(cache), { include: MODEL })).pulled.files).toEqual([
    "config.json",
    "model.safetensors",
  ]);
});

test.each<[string, Record<string, string | null>, string]>([
  [
    "a blob that is gone",
    { "config.json": "{}", "model.safetensors": null },
    "1 of 2 files .* \\(model.safetensors\\)",
  ],
  [
    "a part of the weights",
    { "config.json": "{}", "model-00001-of-00003.safetensors": "1", "model-00003-of-00003.safetensors": "3" },
    "1 of 4 files .* \\(model-00002-of-00003.safetensors\\)",
  ],
])("what a snapshot names and has not is told: %s", async (name, files, message) => {
  const error = await failureOf(pullAll(offline(fill(name, files)), { include: MODEL }));
  expect(error.message).toMatch(new RegExp(`^x/y: the cache lacks ${message}: --offline or HF_HUB_OFFLINE is set`));
});

test("a part of a data set is told, where the parts of each split are counted from 0", async () => {
  const part = (split: string, number: number) => `data/${split}-0000${number}-of-00002.parquet`;
  const files = { [part("train", 1)]: "1", [part("test", 0)]: "0", [part("test", 1)]: "1" };
  const repo = { type: "dataset", id: "x/y", revision: "main" } as const;
  const access = offline(fill("parts", files, "datasets--x--y"));
  const train = await failureOf(pullAll(access, { include: ["data/train-*"] }, repo));
  expect(train.message).toContain("lacks 1 of 2 files of commit 01234567 (data/train-00000-of-00002.parquet)");
  const { pulled } = await pullAll(access, { include: ["data/test-*"] }, repo);
  expect(pulled.files).toEqual([part("test", 0), part("test", 1)]);
});

test("parts of files of different types are different series", async () => {
  const files = { "model-00001-of-00002.safetensors": "1", "model-00002-of-00002.bin": "2" };
  const error = await failureOf(pullAll(offline(fill("types", files)), { include: ["model-*"] }));
  expect(error.message).toMatch(
    /lacks 2 of 4 files .*\(model-00001-of-00002\.bin, model-00002-of-00002\.safetensors\)/,
  );
});

test("a ref without a snapshot says that nothing is there", async () => {
  const cache = fill("empty", {});
  const error = await failureOf(pullAll(offline(cache)));
  expect(error.message).toBe(`x/y: the cache ${cache} has no files of commit 01234567; pull it once while online`);
});
