// Files that break a rule of GGUF, or claim what cannot be: each gives one line that says what is wrong, in little time
// and memory. Then random damage: any change of bytes gives such a line, or a model.

import { expect, test } from "bun:test";
import { truncateSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { GgufError, openGguf, planModel, tensorSources } from "../../../hub/gguf/index.ts";
import { temporaryFolder } from "../temporary.ts";
import {
  f32,
  floats,
  gguf,
  ints,
  type Spec,
  smallLlama,
  str,
  strings,
  u32,
  uint32,
  uint64,
  type Value,
  withMetadata,
  withTensor,
} from "./build.ts";

const at = temporaryFolder();
const HUGE = 2n ** 63n;

/** Reads a whole model, all tensors included. */
async function readAll(file: string): Promise<number> {
  const opened = await openGguf(file);
  try {
    const { tensors } = await planModel(opened);
    let bytes = 0;
    for (const { data } of tensorSources(opened, tensors, undefined)) {
      if (typeof data === "function") for await (const piece of data()) bytes += piece.byteLength;
    }
    return bytes;
  } finally {
    await opened.close();
  }
}

async function messageOf(bytes: Uint8Array): Promise<string> {
  const file = at("x.gguf");
  writeFileSync(file, bytes);
  const error = await readAll(file).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(GgufError);
  const { message } = error as GgufError;
  expect(message.startsWith(`${file}: `)).toBe(true);
  expect(message).not.toContain("\n");
  expect(message.length).toBeLessThan(700);
  return message.slice(file.length + 2);
}

const small = smallLlama();
const entry = (key: string, value: Value): Spec => ({ metadata: [[key, value]] });
const changed = (key: string, value: Value | undefined): Spec => withMetadata(small, { [key]: value });
const claim = (length: bigint | number): Value => [8, uint64(length)];
const array = (type: number, count: bigint | number, bytes: Uint8Array = new Uint8Array(0)): Value => [
  9,
  new Uint8Array(Buffer.concat([uint32(type), uint64(count), bytes])),
];

test("the small model that the tests change is read", async () => {
  const file = at("small.gguf");
  writeFileSync(file, gguf(small));
  const sizes = small.tensors.map(({ data }) => data?.length ?? 0);
  expect(await readAll(file)).toBe(sizes.reduce((sum, size) => sum + size, 0));
});

test.each<[what: string, message: string, spec: Spec]>([
  ["another magic number", "is not a GGUF file", { ...small, magic: "GGML" }],
  ["version 1", "has version 1 of GGUF", { ...small, version: uint32(1) }],
  ["version 4", "has version 4 of GGUF; versions 2 and 3 are read", { ...small, version: uint32(4) }],
  ["big-endian numbers", "is big-endian", { ...small, version: Uint8Array.of(0, 0, 0, 3) }],
  ["a billion entries", "claims 1000000000 metadata entries", { ...small, entryCount: uint64(1e9) }],
  ["2^63 tensors", `claims ${HUGE} tensors`, { ...small, tensorCount: uint64(HUGE) }],
  ["more tensors than there are", "ends inside its header", { metadata: [], tensorCount: uint64(5) }],
  ["a key beyond the end", "ends inside its header", { metadata: [], entryCount: uint64(1) }],
  ["a string beyond the end", 'claims 1000000000000 bytes for the value of "k"', entry("k", claim(10 ** 12))],
  ["a string of 2^63 bytes", `claims ${HUGE} bytes`, entry("k", claim(HUGE))],
  ["an array of a billion strings", 'claims 1000000000 elements for "k"', entry("k", array(8, 1e9))],
  ["an array of 2^63 bytes", `claims ${HUGE} elements`, entry("k", array(0, HUGE))],
  ["an array beyond the end", "ends inside its header", entry("k", array(12, 1e6))],
  [
    "a string of an array beyond the end",
    'claims 5000 bytes for an element of "k"',
    entry("k", array(8, 2, uint64(5000))),
  ],
  ["arrays of arrays", "has an array of arrays", entry("k", array(9, 3))],
  ["an array of an unknown type", "has an array of unknown type 77", entry("k", array(77, 3))],
  ["an unknown type of value", "has a value of unknown type 13", entry("k", [13, uint32(1)])],
  [
    "a key twice",
    'has a metadata key "k" twice',
    {
      metadata: [
        ["k", u32(1)],
        ["k", u32(2)],
      ],
    },
  ],
  ["a key that begins with a byte order mark", "begins with a byte order mark", entry("\ufeffk", u32(1))],
  ["text that is not UTF-8", "that is not UTF-8", entry("k", [8, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff)])],
  ["alignment 0", "general.alignment must be a positive integer", changed("general.alignment", u32(0))],
  [
    "an alignment of several lines",
    'general.alignment must be a positive integer, got a\\nb"',
    changed("general.alignment", str("a\nb")),
  ],
  ["alignment 33", "general.alignment must be a power of two", changed("general.alignment", u32(33))],
  [
    "an alignment of text",
    "general.alignment must be a positive integer, got x",
    changed("general.alignment", str("x")),
  ],
  [
    "a tensor twice",
    'has a tensor "blk.0.attn_v.weight" twice',
    withTensor(small, "blk.0.attn_k.weight", { name: "blk.0.attn_v.weight" }),
  ],
  ["no dimensions", "has 0 dimensions", withTensor(small, "output_norm.weight", { dims: [] })],
  ["five dimensions", "has 5 dimensions", withTensor(small, "output_norm.weight", { dims: [1, 1, 1, 1, 1] })],
  [
    "a negative dimension",
    'claims 18446744073709551615 values in a dimension of "output_norm.weight"',
    withTensor(small, "output_norm.weight", { dims: [-1n] }),
  ],
  ["a dimension of 0", "sizes must be 1 or more", withTensor(small, "output_norm.weight", { dims: [0] })],
  [
    "dimensions whose product overflows",
    "needs bytes",
    withTensor(small, "output_norm.weight", { dims: [2 ** 31, 2 ** 31, 2 ** 31, 4] }),
  ],
  ["an unknown tensor type", "has unknown type 99", withTensor(small, "output_norm.weight", { type: 99 })],
  [
    "a type that is not read",
    "has type IQ4_XS, which is not read",
    withTensor(small, "output_norm.weight", { type: 23 }),
  ],
  ["rows that are no blocks", "not a multiple of 256", withTensor(small, "output_norm.weight", { type: 12 })],
  ["an offset beyond the end", "but the file has", withTensor(small, "output_norm.weight", { offset: 2 ** 40 })],
  ["an offset of 2^63", "but the file has", withTensor(small, "output_norm.weight", { offset: HUGE })],
  [
    "an offset that is not aligned",
    "not a multiple of the alignment 32",
    withTensor(small, "output_norm.weight", { offset: 4 }),
  ],
  ["tensors that overlap", "overlaps the bytes of tensor", withTensor(small, "output_norm.weight", { offset: 64 })],
  ["no architecture", "has no general.architecture", changed("general.architecture", undefined)],
  [
    "another architecture",
    'is a model of architecture "gemma2"; llama, smollm3, qwen2, qwen3, gpt2 are supported',
    changed("general.architecture", str("gemma2")),
  ],
  [
    "an unknown key of the architecture",
    'has "llama.attention.scale" in its metadata',
    changed("llama.attention.scale", f32(0.5)),
  ],
  ["a mixture of experts", "is a mixture of 8 experts", changed("llama.expert_count", u32(8))],
  ["no context length", "has no llama.context_length", changed("llama.context_length", undefined)],
  ["a context of 0", "llama.context_length must be 1 or more, is 0", changed("llama.context_length", u32(0))],
  ["a base of 0", "llama.rope.freq_base must be above 0, is 0", changed("llama.rope.freq_base", f32(0))],
  ["another width", "llama.embedding_length must be 32", changed("llama.embedding_length", u32(64))],
  ["heads that differ between layers", "differs between layers", changed("llama.attention.head_count", ints([4, 8]))],
  ["no heads", "has 0 heads", changed("llama.attention.head_count", u32(0))],
  ["heads of 3 channels", "has heads of 3 channels", changed("llama.attention.key_length", u32(3))],
  ["a billion blocks", "llama.block_count is 1000000000", changed("llama.block_count", u32(1e9))],
  ["two blocks", 'has no tensor "blk.1.attn_norm.weight"', changed("llama.block_count", u32(2))],
  [
    "another inner width",
    "has shape [48, 32], but the metadata implies [64, 32]",
    changed("llama.feed_forward_length", u32(64)),
  ],
  [
    "a million strings that begin with a byte order mark",
    "has no general.architecture",
    entry("k", strings(Array.from({ length: 1e6 }, () => "\ufeff"))),
  ],
  [
    "a factor of rotary positions without scaling",
    "llama.rope.scaling.attn_factor must be 1, the only value that is supported, is 2",
    changed("llama.rope.scaling.attn_factor", f32(2)),
  ],
  [
    "a scaling of several lines beside factors of frequencies",
    'has both rope_freqs.weight and rope.scaling.type "a\\nb"',
    {
      ...withMetadata(small, { "llama.rope.scaling.type": str("a\nb") }),
      tensors: [...small.tensors, { name: "rope_freqs.weight", dims: [4] }],
    },
  ],
  ["partial rotary positions", "llama.rope.dimension_count must be 8", changed("llama.rope.dimension_count", u32(4))],
  [
    "longrope",
    'has rope.scaling.type "longrope"',
    withMetadata(small, { "llama.rope.scaling.type": str("longrope"), "llama.rope.scaling.factor": f32(4) }),
  ],
  [
    "an unknown tensor",
    "is not known for this architecture",
    { ...small, tensors: [...small.tensors, { name: "blk.0.x.weight", dims: [4] }] },
  ],
  [
    "frequency factors that are no scaling",
    "are not those of Llama 3.1's scaling",
    {
      ...small,
      tensors: [
        ...small.tensors,
        { name: "rope_freqs.weight", dims: [4], data: new Uint8Array(Float32Array.of(1, 2, 1, 2).buffer) },
      ],
    },
  ],
  ["no tokenizer", "has no tokenizer.ggml.model", changed("tokenizer.ggml.model", undefined)],
  ["an unknown tokenizer", 'has tokenizer.ggml.model "rwkv"', changed("tokenizer.ggml.model", str("rwkv"))],
  [
    "an unknown splitting",
    'has tokenizer.ggml.pre "new-pre", which is not known',
    changed("tokenizer.ggml.pre", str("new-pre")),
  ],
  [
    "more tokens than rows",
    "has 40 tokens, but only 32 rows",
    withMetadata(small, {
      "tokenizer.ggml.tokens": strings([..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLĠ", "ab"]),
      "tokenizer.ggml.token_type": undefined,
      "tokenizer.ggml.merges": strings(["a b"]),
    }),
  ],
  [
    "an id out of range",
    "tokenizer.ggml.eos_token_id must be below 31",
    changed("tokenizer.ggml.eos_token_id", u32(31)),
  ],
  [
    "kinds for other tokens",
    "tokenizer.ggml.token_type must be as long",
    changed("tokenizer.ggml.token_type", ints([1])),
  ],
  [
    "merges of unknown tokens",
    "tokenizer.ggml.merges must be a list of pairs",
    changed("tokenizer.ggml.merges", strings(["a zz"])),
  ],
  [
    "a token too long to cut",
    "of 200 characters",
    withMetadata(small, {
      "tokenizer.ggml.model": str("llama"),
      "tokenizer.ggml.merges": undefined,
      "tokenizer.ggml.token_type": undefined,
      "tokenizer.ggml.tokens": strings(["x".repeat(200)]),
      "tokenizer.ggml.scores": floats([0]),
      "tokenizer.ggml.eos_token_id": undefined,
    }),
  ],
  ["one of several files", "is one of 3 files of a model", changed("split.count", u32(3))],
])("%s", async (_, message, spec) => {
  expect(await messageOf(gguf(spec))).toContain(message);
});

test("a list with many entries takes little memory, whatever it claims", async () => {
  const before = process.memoryUsage().rss;
  const long = Array.from({ length: 6 }, (_, i) => [`k${i}`, array(0, 1e6, new Uint8Array(1e6))] as const);
  expect(await messageOf(gguf({ metadata: long }))).toContain("has metadata of more than 2000000 elements");
  expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
});

test("a header of a gigabyte of zeros is refused without reading it", async () => {
  const file = at("sparse.gguf");
  const head = gguf({ metadata: [["k", [8, uint64(1e9)]]] });
  writeFileSync(file, head);
  truncateSync(file, 2 ** 31);
  const start = performance.now();
  await expect(readAll(file)).rejects.toThrow(/has a header of more than 46 MB|has 1000000000 bytes for the value/);
  expect(performance.now() - start).toBeLessThan(2000);
});

test("a file that is cut anywhere gives one line", async () => {
  const whole = gguf(small);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), async (length) => {
      await messageOf(whole.slice(0, length));
    }),
    { numRuns: 150 },
  );
});

test("a file with changed bytes gives one line or a model, in little time", async () => {
  const whole = gguf(small);
  const header = whole.length - small.tensors.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
  const damage = fc.array(fc.record({ at: fc.nat(header - 1), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 });
  const file = at("damaged.gguf");
  await fc.assert(
    fc.asyncProperty(damage, async (changes) => {
      const bytes = whole.slice();
      for (const change of changes) bytes[change.at] = change.byte;
      writeFileSync(file, bytes);
      const start = performance.now();
      const error = await readAll(file).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(performance.now() - start).toBeLessThan(2000);
      if (error === undefined) return;
      expect(error).toBeInstanceOf(GgufError);
      expect((error as GgufError).message).not.toContain("\n");
    }),
    { numRuns: 1500 },
  );
});
