// A repository cloned without Git LFS: pointers stand where large files would. Each reader says so, and what to do.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { openCheckpoint } from "../../hub/checkpoint/index.ts";
import { openModel } from "../../hub/model-folder/index.ts";
import { openSafetensors, openTensors } from "../../hub/safetensors/index.ts";
import { rowsOf } from "../../workbench/data/dataset/rows.ts";
import { decodeImage } from "../../workbench/data/images/decode.ts";
import { readImage } from "../../workbench/data/images/prepare.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { refusal, setUp } from "./text-set.ts";

const folder = temporaryFolder();

/** As Git LFS 3 writes it. */
const POINTER = `version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 548105171
`;

const PROBLEM =
  "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or fetch it with `gblr pull`";

function pointer(name: string): string {
  writeFileSync(folder(name), POINTER);
  return folder(name);
}

async function told(path: string, read: (path: string) => Promise<unknown>): Promise<void> {
  const error = (await read(path).catch((error: unknown) => error)) as Error;
  expect(error.message).toBe(`${path}: ${PROBLEM}`);
}

test("weights that are a pointer are named as such, in every form that is read", async () => {
  await told(pointer("model.safetensors"), openSafetensors);
  await told(pointer("model.safetensors.index.json"), openTensors);
  for (const name of ["weights.pth", "weights.ckpt", "pytorch_model.bin"]) await told(pointer(name), openCheckpoint);
  mkdirSync(folder("model"));
  writeFileSync(folder("model/config.json"), '{"model_type":"gpt2"}');
  pointer("model/model.safetensors");
  await told(folder("model/model.safetensors"), () => openModel(folder("model")));
});

test("a config.json and a tokenizer that are pointers are named as such", async () => {
  mkdirSync(folder("config"));
  pointer("config/config.json");
  await told(folder("config/config.json"), () => openModel(folder("config")));
  await told(folder("config/config.json"), () => loadModelNow(folder("config")));
  pointer("config/tokenizer.json");
  await told(folder("config/tokenizer.json"), () => openTokenizer(folder("config")));
});

test("data that are pointers are named as such: parquet, text, JSON, images", async () => {
  for (const name of ["a.parquet", "a.txt", "a.jsonl", "a.json"]) {
    await told(pointer(name), (path) => Array.fromAsync(rowsOf(path, "text")));
  }
  const options = setUp(folder("set"), POINTER);
  expect(await refusal(options)).toBe(`${options.dataset}/train.txt: ${PROBLEM}`);
  await told(pointer("a.png"), (file) => readImage({ file, start: 0 }));
  await expect(decodeImage(new TextEncoder().encode(POINTER))).rejects.toThrow(PROBLEM);
});

test("a text that only begins like a pointer, or speaks of one, is a text", async () => {
  const long = POINTER + "and more\n".repeat(200);
  for (const text of [long, "version https://git-lfs.github.com/spec\n", `See:\n${POINTER}`]) {
    writeFileSync(folder("b.txt"), text);
    const rows = (await Array.fromAsync(rowsOf(folder("b.txt"), "text"))).flatMap(({ texts }) => texts);
    expect(rows.join("")).toBe(text);
  }
});
