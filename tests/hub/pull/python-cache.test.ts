// A cache that Python's client has filled file by file: refs, snapshots and blobs, and no listing. Without a network its
// snapshot is used, and an error names only what is needed and not there.

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openEngine } from "../../../workbench/engine/open.ts";
import { type Model, saveModelNow } from "../../../workbench/models/index.ts";
import { smallResnet } from "../../models/small-vision.ts";
import { PATIENCE, pythonWith } from "../../python/python.ts";
import { lay, TOKEN, testHub } from "../serve/serving.ts";
import { temporaryFolder } from "../temporary.ts";
import { failureOf, pullAll } from "./pulling.ts";

const GBLR = path.join(import.meta.dir, "../../../workbench/cli/gblr.ts");
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

test("a ref without a snapshot says that nothing is there", async () => {
  const cache = fill("empty", {});
  const error = await failureOf(pullAll(offline(cache)));
  expect(error.message).toBe(`x/y: the cache ${cache} has no files of commit 01234567; pull it once with a network`);
});

beforeAll(async () => {
  await openEngine();
});

function gblr(cache: string, ...args: string[]) {
  const env = { ...process.env, HF_HUB_CACHE: cache, HF_HUB_OFFLINE: "1", HF_ENDPOINT: "http://127.0.0.1:64999" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, ...args], { env });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

const DOWNLOAD = `
import sys
from huggingface_hub import hf_hub_download
for name in ("config.json", "model.safetensors"):
    hf_hub_download("x/y", name, endpoint=sys.argv[1], cache_dir=sys.argv[2])
`;
const python = pythonWith("huggingface_hub");
if (!python) console.log("python-cache.test.ts: Python's client is not here; its cache is laid by hand");

test(
  "verbs take a model from such a cache, and say which file it lacks",
  async () => {
    const folder = at("hub", "models/x/y");
    const model = smallResnet() as Model;
    await saveModelNow(model, folder);
    model.dispose();
    const [config, weights] = [`${folder}/config.json`, `${folder}/model.safetensors`];
    const cache = at("cache");
    if (python) {
      const hub = await testHub({ folder: at("hub") });
      const child = Bun.spawn([python, "-c", DOWNLOAD, hub.url, cache], { env: { ...process.env, HF_TOKEN: TOKEN } });
      expect(await child.exited).toBe(0);
    } else {
      lay(at("cache/models--x--y"), { "refs/main": COMMIT });
      for (const file of [config, weights]) {
        const bytes = new Uint8Array(await Bun.file(file).arrayBuffer());
        lay(at("cache/models--x--y/snapshots", COMMIT), { [path.basename(file)]: bytes });
      }
    }
    const exported = gblr(cache, "export", "x/y", "--to", "dense", "--out", at("dense"));
    expect({ code: exported.code, stderr: exported.stderr }).toEqual({ code: 0, stderr: expect.any(String) });
    expect(gblr(cache, "inspect", "x/y").code).toBe(0);
    const snapshots = new Bun.Glob("models--x--y/snapshots/*/model.safetensors");
    for (const file of snapshots.scanSync({ cwd: cache, followSymlinks: true })) rmSync(path.join(cache, file));
    const { code, stderr } = gblr(cache, "inspect", "x/y");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gblr: [^\n]*has neither model\.safetensors, [^\n]*\n$/);
  },
  PATIENCE,
);
