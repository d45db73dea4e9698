// Writing when something goes wrong: the file that was there stays, nothing is left beside it, and the error says what
// and where.

import { beforeEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { openTensors, type TensorSource, writeModel, writeSafetensors } from "../../../hub/safetensors/index.ts";
import { readAll } from "../../../hub/safetensors/read.ts";
import { SafetensorsError } from "../../../hub/safetensors/types.ts";
import { sourcesOf } from "../../../hub/safetensors/write.ts";
import { temporaryFolder } from "../temporary.ts";

const root = temporaryFolder();
const at = (...names: string[]) => root("model", ...names);

beforeEach(() => {
  rmSync(at(), { recursive: true, force: true });
  mkdirSync(at());
});

const floats = (name: string, ...values: number[]): TensorSource => ({
  name,
  dtype: "F32",
  shape: [values.length],
  data: Float32Array.from(values),
});

async function* pieces(...lengths: number[]) {
  for (const length of lengths) yield new Uint8Array(length);
}

const messageOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(SafetensorsError);
  return (error as Error).message;
};

test.each<[string, TensorSource[], string]>([
  ["a name given twice", [floats("a", 1), floats("b", 1), floats("a", 2)], '"a" appears twice'],
  [
    "the name of the metadata",
    [floats("__metadata__", 1)],
    'tensor "__metadata__": the name is reserved for the metadata',
  ],
  ["half a surrogate pair", [floats("\ud800", 1)], 'tensor "\\ud800": the name is not well-formed Unicode'],
  [
    "a shape with half a side",
    [{ ...floats("a", 1), shape: [0.5] }],
    'tensor "a": shape must be a list of non-negative integers, is [0.5]',
  ],
  [
    "a shape too large to count",
    [{ ...floats("a", 1), shape: [2 ** 40, 2 ** 40] }],
    'tensor "a": shape [1099511627776, 1099511627776] has more bytes than can be counted',
  ],
  ["an array that is too short", [{ ...floats("a", 1), shape: [2] }], 'tensor "a": needs 8 bytes, got 4'],
  [
    "a stream that is too short",
    [{ name: "a", dtype: "U8", shape: [9], data: () => pieces(4, 4) }],
    'tensor "a": needs 9 bytes, got 8',
  ],
  [
    "a stream that is too long",
    [{ name: "a", dtype: "U8", shape: [9], data: () => pieces(4, 4, 4) }],
    'tensor "a": needs 9 bytes, got 12',
  ],
])("refuses %s, and leaves the file that was there", async (_, tensors, message) => {
  const path = at("model.safetensors");
  writeFileSync(path, "what was there");
  expect(await messageOf(writeSafetensors(path, tensors))).toBe(`${path}: ${message}`);
  expect(readFileSync(path, "utf8")).toBe("what was there");
  expect(readdirSync(at())).toEqual(["model.safetensors"]);
});

test("a source's own error passes through unchanged", async () => {
  const own = new Error("the source broke");
  const data = async function* () {
    yield new Uint8Array(1);
    throw own;
  };
  const writing = writeSafetensors(at("model.safetensors"), [{ name: "a", dtype: "U8", shape: [2], data }]);
  expect(await writing.catch((error: unknown) => error)).toBe(own);
  expect(readdirSync(at())).toEqual([]);
});

test("a folder that is not there, and a place that is a folder, are errors", async () => {
  expect(await messageOf(writeSafetensors(at("no", "m.safetensors"), []))).toBe(
    `${at("no", "m.safetensors")}: cannot be written: no such file`,
  );
  mkdirSync(at("m.safetensors"));
  expect(await messageOf(writeSafetensors(at("m.safetensors"), []))).toContain("cannot be written: ");
  expect(readdirSync(at())).toEqual(["m.safetensors"]);
  expect(await messageOf(openTensors(at("m.safetensors")))).toBe(
    `${at("m.safetensors")}: has neither model.safetensors nor model.safetensors.index.json`,
  );
});

test("a writer that stops half way leaves nothing", async () => {
  for await (const event of writeModel(at(), [floats("a", 1), floats("b", 2)], { maxShardBytes: 4 })) {
    if (event.kind === "progress") break;
  }
  expect(readdirSync(at())).toEqual([]);
});

async function write(tensors: TensorSource[], maxShardBytes?: number) {
  const events = [];
  for await (const event of writeModel(at(), tensors, { maxShardBytes, metadata: { format: "pt" } }))
    events.push(event);
  return events;
}

test("a model under the limit is one file; its events count every byte", async () => {
  const events = await write([floats("a", 1, 2), floats("b", 3)]);
  expect(events.slice(0, -1).map((event) => event.kind === "progress" && event.bytes)).toEqual([8, 4]);
  expect(events.at(-1)).toEqual({ kind: "written", files: ["model.safetensors"], bytes: 12 });
  expect(readdirSync(at())).toEqual(["model.safetensors"]);
});

test("a model over the limit is shards with an index, and reads as one", async () => {
  const tensors = [floats("c", 1, 2, 3), floats("a", 4), floats("b", 5), floats("large", 6, 7, 8, 9), floats("d", 10)];
  const files = (await write(tensors, 12)).at(-1);
  expect(files).toEqual({
    kind: "written",
    files: [1, 2, 3, 4].map((i) => `model-0000${i}-of-00004.safetensors`).concat("model.safetensors.index.json"),
    bytes: 40,
  });
  expect(JSON.parse(readFileSync(at("model.safetensors.index.json"), "utf8"))).toEqual({
    metadata: { total_size: 40 },
    weight_map: {
      a: "model-00002-of-00004.safetensors",
      b: "model-00002-of-00004.safetensors",
      c: "model-00001-of-00004.safetensors",
      d: "model-00004-of-00004.safetensors",
      large: "model-00003-of-00004.safetensors",
    },
  });
  for (const path of [at(), at("model.safetensors.index.json")]) {
    const model = await openTensors(path);
    expect(Object.fromEntries(model.metadata)).toEqual({ format: "pt" });
    await expect(model.read("e")).rejects.toThrow('has no tensor "e"');
    expect(() => model.chunks("e")).toThrow('has no tensor "e"');
    const read = await readAll(model);
    for (const { name, data } of tensors) expect(read.get(name)?.data).toEqual(data as Float32Array);
    expect(read.size).toBe(tensors.length);
  }
});

test("a model of one large tensor is one file, whatever the limit", async () => {
  expect((await write([floats("a", 1, 2)], 4)).at(-1)).toMatchObject({ files: ["model.safetensors"] });
});

test("a name given twice is found across shards", async () => {
  expect(await messageOf(write([floats("a", 1), floats("a", 2)], 4))).toEndWith('"a" appears twice');
});

test("writing a model removes the shards of the one that was there, and nothing else", async () => {
  writeFileSync(at("notes-model.safetensors"), "");
  await write([floats("a", 1), floats("b", 2)], 4);
  await write([floats("a", 1), floats("b", 2), floats("c", 2)], 4);
  expect(readdirSync(at()).sort()).toEqual([
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
    "model.safetensors.index.json",
    "notes-model.safetensors",
  ]);
  await write([floats("a", 1)]);
  expect(readdirSync(at()).sort()).toEqual(["model.safetensors", "notes-model.safetensors"]);
});

const SHARD = "model-00001-of-00002.safetensors";
test.each<[string, unknown, string]>([
  ["text that is no JSON", "{", "index is not JSON"],
  ["no map", {}, "weight_map must map tensors to files"],
  ["null", null, "weight_map must map tensors to files"],
  ["a map that is a list", { weight_map: [] }, "weight_map must map tensors to files"],
  [
    "a shard that is a number",
    { weight_map: { a: 1 } },
    'tensor "a": its shard must be the name of a safetensors file beside the index, is "1"',
  ],
  [
    "a shard in another folder",
    { weight_map: { a: "../other.safetensors" } },
    'tensor "a": its shard must be the name of a safetensors file beside the index, is "../other.safetensors"',
  ],
  [
    "a shard that is no safetensors file",
    { weight_map: { a: "passwords" } },
    'tensor "a": its shard must be the name of a safetensors file beside the index, is "passwords"',
  ],
  ["a name twice", '{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}', '"a" appears twice'],
  [
    "a tensor that its shard lacks",
    { weight_map: { a: SHARD, b: SHARD } },
    `tensor "b": is not in ${SHARD}, where the index puts it`,
  ],
  [
    "a shard with a tensor that it does not list",
    { weight_map: { b: "model-00002-of-00002.safetensors" } },
    'tensor "c": is in model-00002-of-00002.safetensors, where the index does not put it',
  ],
])("refuses an index with %s", async (_, index, message) => {
  await writeSafetensors(at(SHARD), sourcesOf([["a", { dtype: "U8", shape: [1], data: new Uint8Array(1) }]]));
  await writeSafetensors(at("model-00002-of-00002.safetensors"), [floats("b", 1), floats("c", 1)]);
  const path = at("model.safetensors.index.json");
  writeFileSync(path, typeof index === "string" ? index : JSON.stringify(index));
  expect(await messageOf(openTensors(at()))).toBe(`${path}: ${message}`);
});

test("a shard that is not there is an error that names it", async () => {
  writeFileSync(at("model.safetensors.index.json"), JSON.stringify({ weight_map: { a: SHARD } }));
  expect(await messageOf(openTensors(at()))).toBe(`${at(SHARD)}: cannot be opened: no such file`);
});
