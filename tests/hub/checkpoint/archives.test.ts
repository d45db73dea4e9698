// The two forms of the file around the pickle, made by hand: zip archives stored, deflated and in 64 bits, the legacy
// form, and each cut off at every byte, flipped at random and lying in every field.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { CheckpointError, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { readAll } from "../../../hub/safetensors/read.ts";
import { fixture, temporaryFolder } from "../temporary.ts";
import { bytesOf, checkpoint, legacy, pickle, push, tensor, type ZipOptions, zip, zipEnd } from "./build.ts";

const at = temporaryFolder();
const FLOATS = Float32Array.of(1, 2, 3, 4, 5, 6);
const BYTES = new Uint8Array(FLOATS.buffer);
const MATRIX = tensor({ length: 6, shape: [2, 3], strides: [3, 1] });

async function readBytes(bytes: Uint8Array) {
  writeFileSync(at("m.ckpt"), bytes);
  return readAll(await openCheckpoint(at("m.ckpt")));
}

async function messageOf(bytes: Uint8Array): Promise<string> {
  const error = await readBytes(bytes).then(
    () => new Error("nothing was thrown"),
    (error: unknown) => error,
  );
  if (!(error instanceof CheckpointError)) throw new Error("not a CheckpointError", { cause: error });
  return error.message.replace(`${at("m.ckpt")}: `, "");
}

test.each<[string, ZipOptions]>([
  ["stored", {}],
  ["deflated", { deflated: true }],
  ["64-bit", { zip64: true }],
  ["64-bit and deflated", { zip64: true, deflated: true }],
  ["commented", { comment: "PK\x05\x06 is no end here" }],
])("reads a %s archive", async (_, options) => {
  const tensors = await readBytes(checkpoint(push.dict({ w: MATRIX }), { 0: BYTES }, options));
  expect(tensors.get("w")).toEqual({ dtype: "F32", shape: [2, 3], data: FLOATS });
});

test.each([true, false])("a part of a storage is read after all of it is checked (deflated: %p)", async (deflated) => {
  const large = new Float32Array(3_000_000).map((_, i) => i);
  const part = tensor({ length: large.length, offset: 2_500_000, shape: [3], strides: [1] });
  const columns = tensor({ length: large.length, offset: 7, shape: [2, 2], strides: [1, 1_000_000] });
  const bytes = checkpoint(push.dict({ part, columns }), { 0: new Uint8Array(large.buffer) }, { deflated });
  const tensors = await readBytes(bytes);
  expect([...(tensors.get("part")?.data ?? [])]).toEqual([2_500_000, 2_500_001, 2_500_002]);
  expect([...(tensors.get("columns")?.data ?? [])]).toEqual([7, 1_000_007, 8, 1_000_008]);
  bytes[bytes.length - 3_000_000] = (bytes[bytes.length - 3_000_000] as number) ^ 1; // far from both tensors
  expect(await messageOf(bytes)).toMatch(/tensor "part": entry "archive\/data\/0" (is damaged|cannot be unpacked)/);
});

const list = (tensors: Record<string, Uint8Array>) => checkpoint(push.dict(tensors), { 0: BYTES });

test.each<[string, Parameters<typeof tensor>[0], number[]]>([
  ["row-major", { length: 6, shape: [2, 3], strides: [3, 1] }, [1, 2, 3, 4, 5, 6]],
  ["transposed", { length: 6, shape: [3, 2], strides: [1, 3] }, [1, 4, 2, 5, 3, 6]],
  ["offset", { length: 6, offset: 4, shape: [2], strides: [1] }, [5, 6]],
  ["strided", { length: 6, offset: 1, shape: [3], strides: [2] }, [2, 4, 6]],
  ["expanded", { length: 6, offset: 1, shape: [2, 2], strides: [0, 1] }, [2, 3, 2, 3]],
  ["overlapping", { length: 6, shape: [3, 3], strides: [1, 1] }, [1, 2, 3, 2, 3, 4, 3, 4, 5]],
  ["0-dimensional", { length: 6, offset: 5, shape: [], strides: [] }, [6]],
  ["empty", { length: 6, shape: [0, 3], strides: [3, 1] }, []],
  ["three-dimensional, sides swapped", { length: 6, shape: [3, 1, 2], strides: [1, 77, 3] }, [1, 4, 2, 5, 3, 6]],
  ["with sides of one and any strides", { length: 6, shape: [1, 6, 1], strides: [99, 1, 99] }, [1, 2, 3, 4, 5, 6]],
])("reads a view that is %s", async (_, view, expected) => {
  const found = (await readBytes(list({ w: tensor(view) }))).get("w");
  expect(found?.shape).toEqual(view.shape);
  expect([...(found?.data ?? [])].map(Number)).toEqual(expected);
});

test.each<[string, Parameters<typeof tensor>[0], string]>([
  [
    "one element past the end",
    { length: 6, offset: 1, shape: [2, 3], strides: [3, 1] },
    'reaches 28 bytes into storage "0", which has 24',
  ],
  ["strides past the end", { length: 6, shape: [2], strides: [6] }, 'reaches 28 bytes into storage "0", which has 24'],
  [
    "strides past every end",
    { length: 6, shape: [2 ** 20, 1], strides: [2 ** 50, 1] },
    'reaches 4.722361979270018e+21 bytes into storage "0", which has 24',
  ],
  [
    "a shape past every end",
    { length: 6, shape: [2 ** 40, 2 ** 40], strides: [0, 0] },
    "shape [1099511627776, 1099511627776] has more bytes than can be counted",
  ],
  [
    "a negative side",
    { length: 6, shape: [-1], strides: [1] },
    "its shape and strides are not lists of sizes of equal length",
  ],
  [
    "a negative stride",
    { length: 6, offset: 5, shape: [2], strides: [-1] },
    "its shape and strides are not lists of sizes of equal length",
  ],
  [
    "fewer strides than sides",
    { length: 6, shape: [2, 3], strides: [1] },
    "its shape and strides are not lists of sizes of equal length",
  ],
  ["a negative offset", { length: 6, offset: -1, shape: [1], strides: [1] }, "its offset is -1"],
  [
    "more elements than a gigabyte from one",
    { length: 6, shape: [2 ** 30], strides: [0] },
    "expands 24 bytes to 4294967296, more than is accepted",
  ],
  [
    "a storage that is not there",
    { key: "7", length: 6, shape: [], strides: [] },
    'storage "7" is missing from the file',
  ],
  [
    "a storage outside the folder",
    { key: "../data/0", length: 6, shape: [], strides: [] },
    'storage "../data/0" is missing from the file',
  ],
  [
    "a storage longer than its bytes",
    { length: 7, shape: [], strides: [] },
    'storage "0" has 24 bytes, where 28 are declared',
  ],
  [
    "a storage shorter than its tensor",
    { length: 3, shape: [6], strides: [1] },
    'reaches 24 bytes into storage "0", which has 12',
  ],
  [
    "complex numbers",
    { storage: "ComplexDoubleStorage", length: 3, shape: [3], strides: [1] },
    "elements of torch.ComplexDoubleStorage cannot be stored as safetensors",
  ],
  [
    "quantized numbers",
    { storage: "QInt8Storage", length: 3, shape: [3], strides: [1] },
    "elements of torch.QInt8Storage cannot be stored as safetensors",
  ],
])("refuses a view with %s, wherever the tensor is", async (_, view, message) => {
  expect(await messageOf(list({ w: tensor(view) }))).toBe(`tensor "w": ${message}`);
  expect(await messageOf(list({ state_dict: push.dict({ ok: MATRIX }), optimizer: push.list(tensor(view)) }))).toBe(
    `tensor "optimizer.0": ${message}`,
  );
});

test("names are the keys that lead to a tensor; a state_dict's are its own", async () => {
  const nested = list({ model: push.dict({ a: MATRIX, b: push.list(bytesOf("N"), MATRIX) }), step: push.int(3) });
  expect([...(await readBytes(nested)).keys()]).toEqual(["model.a", "model.b.1"]);
  const opened = await openCheckpoint(at("m.ckpt"));
  expect(opened.rest).toEqual({ model: { b: [null, null] }, step: 3 });
  expect([...opened.tied]).toEqual([["model.b.1", "model.a"]]);
  await opened.close();
  expect([...(await readBytes(list({ state_dict: push.dict({ "h.0": MATRIX }), other: MATRIX }))).keys()]).toEqual([
    "h.0",
  ]);
  expect([...(await readBytes(checkpoint(MATRIX, { 0: BYTES }))).keys()]).toEqual(["tensor"]);
});

test("two tensors of one name are an error that names it", async () => {
  const bytes = list({ a: push.dict({ "b.c": MATRIX }), "a.b": push.dict({ c: MATRIX }) });
  expect(await messageOf(bytes)).toBe('tensor "a.b.c": two tensors have this name');
});

test("a dictionary that holds itself ends", async () => {
  const cyclic = bytesOf("}q", 1, push.text("self"), "h", 1, "s", push.text("w"), MATRIX, "s");
  expect([...(await readBytes(checkpoint(cyclic, { 0: BYTES }))).keys()]).toEqual(["w"]);
});

const UNTYPED = bytesOf(
  push.tuple(
    push.text("storage"),
    push.global("torch.storage", "UntypedStorage"),
    push.text("0"),
    push.text("cpu"),
    push.int(24),
  ),
  "Q",
);
const v3 = (dtype: string) =>
  push.call(
    "torch._utils",
    "_rebuild_tensor_v3",
    UNTYPED,
    push.int(1),
    push.tuple(push.int(2)),
    push.tuple(push.int(1)),
    bytesOf(0x89),
    push.call("collections", "OrderedDict"),
    push.global("torch", dtype),
  );

test("storages without a type take the tensor's", async () => {
  const tensors = await readBytes(list({ w: v3("float32"), bits: v3("int16") }));
  expect(tensors.get("w")?.data).toEqual(Float32Array.of(2, 3));
  expect(tensors.get("bits")?.data).toEqual(new Int16Array(BYTES.buffer, 2, 2));
  expect(await messageOf(list({ w: v3("complex32") }))).toBe(
    'tensor "w": elements of torch.complex32 cannot be stored as safetensors',
  );
});

test.each<[string, Uint8Array, string]>([
  [
    "an archive of other things",
    zip({ "notes.txt": BYTES }),
    "is a zip archive but not a PyTorch checkpoint: it does not have exactly one data.pkl",
  ],
  [
    "an archive of two checkpoints",
    zip({ "a/data.pkl": BYTES, "b/data.pkl": BYTES }),
    "is a zip archive but not a PyTorch checkpoint: it does not have exactly one data.pkl",
  ],
  [
    "a program",
    zip({ "a/data.pkl": pickle(push.dict({})), "a/constants.pkl": BYTES }),
    "is a TorchScript program, not a checkpoint; save its state_dict with torch.save",
  ],
  [
    "an archive without entries",
    zipEnd({ count: 0, size: 0, start: 0, zip64: false }),
    "is a zip archive but not a PyTorch checkpoint",
  ],
  [
    "text",
    bytesOf("hello, this is no checkpoint"),
    "is not a PyTorch checkpoint: pickle: recalls memo 101, which was never set",
  ],
  ["a pickle of something else", pickle(push.dict({})), "is a pickle but not a PyTorch checkpoint"],
  ["zeros", new Uint8Array(1000), "is not a PyTorch checkpoint: pickle: unknown opcode 0x00 at byte 0"],
])("refuses %s", async (_, bytes, message) => {
  expect(await messageOf(bytes)).toStartWith(message);
});

/** Changes one field of the first (or last) record with a signature. */
function patched(
  bytes: Uint8Array,
  signature: string,
  { offset, value }: { offset: number; value: number[] },
): Uint8Array {
  const copy = Buffer.from(bytes);
  const record =
    signature === "PK\x05\x06"
      ? copy.lastIndexOf(signature, bytes.length, "latin1")
      : copy.indexOf(signature, 0, "latin1");
  copy.set(value, record + offset);
  return Uint8Array.from(copy);
}

const WHOLE = list({ w: MATRIX });
const WIDE = checkpoint(push.dict({ w: MATRIX }), { 0: BYTES }, { zip64: true });
const DEFLATED = checkpoint(push.dict({ w: MATRIX }), { 0: BYTES }, { deflated: true });
const END = "PK\x05\x06";
const CENTRAL = "PK\x01\x02";
const all = (count: number) => Array<number>(count).fill(0xff);

test.each<[string, Uint8Array, string]>([
  [
    "a directory past the end",
    patched(WHOLE, END, { offset: 16, value: [0xff, 0xff, 0, 0] }),
    "zip archive: the central directory lies outside the file",
  ],
  [
    "a directory too large",
    patched(WHOLE, END, { offset: 12, value: [0xff, 0xff, 0xff, 0xfe] }),
    "zip archive: the central directory lies outside the file",
  ],
  [
    "another number of entries",
    patched(WHOLE, END, { offset: 10, value: [9, 0] }),
    "zip archive: 3 entries, where its end says 9",
  ],
  [
    "a directory that is none",
    patched(WHOLE, CENTRAL, { offset: 0, value: [0] }),
    "zip archive: the central directory is damaged",
  ],
  [
    "a name past the directory",
    patched(WHOLE, CENTRAL, { offset: 28, value: all(2) }),
    "zip archive: the central directory is damaged",
  ],
  [
    "an encrypted entry",
    patched(WHOLE, CENTRAL, { offset: 8, value: [1] }),
    'zip archive: entry "archive/data.pkl" is encrypted',
  ],
  [
    "an unknown method",
    patched(WHOLE, CENTRAL, { offset: 10, value: [12] }),
    'zip archive: entry "archive/data.pkl" is packed by method 12, neither stored nor deflated',
  ],
  [
    "a stored entry of two sizes",
    patched(WHOLE, CENTRAL, { offset: 24, value: [1, 0] }),
    'zip archive: entry "archive/data.pkl" is stored in ',
  ],
  [
    "an entry that unpacks to gigabytes",
    patched(DEFLATED, CENTRAL, { offset: 24, value: [0, 0, 0, 0xf0] }),
    'zip archive: entry "archive/data.pkl" cannot unpack ',
  ],
  [
    "an entry that unpacks to less",
    patched(DEFLATED, CENTRAL, { offset: 25, value: [2] }),
    'entry "archive/data.pkl" unpacks to fewer than ',
  ],
  [
    "an entry that unpacks to more",
    patched(DEFLATED, CENTRAL, { offset: 24, value: [1, 0] }),
    'entry "archive/data.pkl" unpacks to more than 1 bytes',
  ],
  [
    "an entry past the end",
    patched(WHOLE, CENTRAL, { offset: 42, value: [0xff, 0xff, 0, 0] }),
    'zip archive: entry "archive/data.pkl" lies outside the file',
  ],
  [
    "an entry elsewhere",
    patched(WHOLE, CENTRAL, { offset: 42, value: [1] }),
    'zip archive: entry "archive/data.pkl" is not where the central directory says',
  ],
  [
    "an entry whose own header is too long",
    patched(WHOLE, "PK\x03\x04", { offset: 28, value: all(2) }),
    'zip archive: entry "archive/data.pkl" lies outside the file',
  ],
  [
    "sizes of 64 bits that are not there",
    patched(WHOLE, CENTRAL, { offset: 24, value: all(4) }),
    'zip archive: entry "archive/data.pkl" has no 64-bit sizes',
  ],
  [
    "a 64-bit end elsewhere",
    patched(WIDE, "PK\x06\x07", { offset: 8, value: [0, 0] }),
    "zip archive: its 64-bit end is not where it should be",
  ],
  [
    "a 64-bit end past the end",
    patched(WIDE, "PK\x06\x07", { offset: 8, value: all(8) }),
    "zip archive: its 64-bit end lies outside the file",
  ],
  [
    "a directory past 2^64",
    patched(WIDE, "PK\x06\x06", { offset: 48, value: all(8) }),
    "zip archive: the central directory lies outside the file",
  ],
  [
    "another checksum",
    patched(WHOLE, CENTRAL, { offset: 16, value: [0, 0, 0, 0] }),
    'entry "archive/data.pkl" is damaged: its checksum is ',
  ],
])("refuses an archive with %s", async (_, bytes, message) => {
  expect(await messageOf(bytes)).toStartWith(message);
});

test("refuses two entries of one name", async () => {
  const bytes = zip({ "archive/data.pkl": BYTES, "archive/dataXpkl": BYTES });
  expect(
    await messageOf(Buffer.from(Buffer.from(bytes).toString("latin1").replaceAll("dataXpkl", "data.pkl"), "latin1")),
  ).toBe('zip archive: two entries are named "archive/data.pkl"');
});

const STORAGES = { 0: { length: 6, bytes: BYTES } };

test("reads the legacy form, and views of its storages", async () => {
  const view = push.tuple(push.text("view"), push.int(2), push.int(3));
  const part = tensor({ length: 6, offset: 1, shape: [2], strides: [1], view });
  const tensors = await readBytes(legacy(push.dict({ w: MATRIX, part }), STORAGES));
  expect(tensors.get("w")?.data).toEqual(FLOATS);
  expect(tensors.get("part")?.data).toEqual(Float32Array.of(4, 5));
});

test("reads a legacy file whose pickle is longer than the first look at it", async () => {
  const tensors = await readBytes(legacy(push.dict({ note: push.text("x".repeat(1_000_000)), w: MATRIX }), STORAGES));
  expect(tensors.get("w")?.data).toEqual(FLOATS);
});

const viewOf = (offset: number, length: number) => push.tuple(push.text("view"), push.int(offset), push.int(length));
const W = push.dict({ w: MATRIX });

test.each<[string, Uint8Array, string]>([
  [
    "from a big-endian machine",
    legacy(W, STORAGES, { littleEndian: false }),
    "was written by a big-endian machine; only little-endian files are read",
  ],
  ["of another version", legacy(W, STORAGES, { version: 1002 }), "has legacy version 1002, not 1001"],
  ["without its storage", legacy(W), 'tensor "w": storage "0" is missing from the file'],
  [
    "with a storage of no tensor",
    legacy(push.dict({}), STORAGES),
    'storage "0": the size of its elements is not known',
  ],
  [
    "with a storage of negative length",
    legacy(W, { 0: { length: -1, bytes: BYTES } }),
    'is cut off: storage "0" ends after the end of the file',
  ],
  [
    "with a storage past the end",
    legacy(W, { 0: { length: 2 ** 50, bytes: BYTES } }),
    'is cut off: storage "0" ends after the end of the file',
  ],
  [
    "with a storage that is too short",
    legacy(W, { 0: { length: 5, bytes: BYTES } }),
    'tensor "w": storage "0" has 20 bytes, where 24 are declared',
  ],
  [
    "with a view past its storage",
    legacy(push.dict({ w: tensor({ length: 6, shape: [1], strides: [1], view: viewOf(5, 2) }) }), STORAGES),
    'storage "0": a view of it exceeds it',
  ],
  [
    "with a tensor past its view",
    legacy(push.dict({ w: tensor({ length: 6, shape: [4], strides: [1], view: viewOf(1, 3) }) }), STORAGES),
    'tensor "w": reaches 20 bytes into storage "0", which has 16',
  ],
])("refuses a legacy file %s", async (_, bytes, message) => {
  expect(await messageOf(bytes)).toBe(message);
});

test.each(["variants.ckpt", "variants-legacy.ckpt"])("%s cut off at any byte is refused", async (name) => {
  const whole = new Uint8Array(readFileSync(fixture(name)));
  for (let length = 0; length < whole.length; length += length < 200 ? 1 : 37) {
    await messageOf(whole.subarray(0, length));
  }
});

test.each(["variants.ckpt", "variants-legacy.ckpt", "tiny-gpt2-gaudi-deflated.ckpt", "opaque-hparams.ckpt"])(
  "%s with random bytes changed is read or refused with CheckpointError, never anything else",
  async (name) => {
    const whole = new Uint8Array(readFileSync(fixture(name)));
    let refused = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const bytes = mutate(whole, seed);
      const error = await readBytes(bytes).catch((error: unknown) => error);
      if (error instanceof Map) continue;
      if (!(error instanceof CheckpointError)) throw new Error(`seed ${seed}`, { cause: error });
      refused++;
    }
    expect(refused).toBeGreaterThan(30);
  },
);

/** Up to four bytes changed; half of them where a zip archive or a legacy file has its pickle or its directory. */
function mutate(whole: Uint8Array, seed: number): Uint8Array {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const bytes = whole.slice();
  for (let change = random(4); change >= 0; change--) {
    const near = random(Math.min(2500, bytes.length));
    const place = [random(bytes.length), near, bytes.length - 1 - near][random(3)] as number;
    bytes[place] = random(2) === 0 ? random(256) : (bytes[place] as number) ^ (1 << random(8));
  }
  return bytes;
}

test("pickles with random bytes changed, under right checksums, are read or refused, never anything else", async () => {
  const archive = new Uint8Array(readFileSync(fixture("variants.ckpt")));
  const start = Buffer.from(archive).indexOf("\x80\x02}q", 0, "latin1");
  const pickled = archive.slice(start, start + 1645);
  const storages = Object.fromEntries(
    Array.from({ length: 16 }, (_, key) => [`archive/data/${key}`, new Uint8Array(200)] as const),
  );
  let refused = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    const bytes = zip({ "archive/data.pkl": mutate(pickled, seed), ...storages });
    const error = await readBytes(bytes).catch((error: unknown) => error);
    if (error instanceof Map) continue;
    if (!(error instanceof CheckpointError)) throw new Error(`seed ${seed}`, { cause: error });
    refused++;
  }
  expect(refused).toBeGreaterThan(300);
});
