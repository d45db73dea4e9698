// The pickle machine and what it lets through, on checkpoints made by hand: every opcode, every refusal, every bound.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { CheckpointError, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { temporaryFolder } from "../temporary.ts";
import { bytesOf, checkpoint, pickle, push, zip } from "./build.ts";

const at = temporaryFolder();

/** What is left of a checkpoint whose value is a dictionary with this under `v`. */
async function readValue(value: Uint8Array): Promise<unknown> {
  return (await restOf(push.dict({ v: value }))).v;
}

async function restOf(value: Uint8Array): Promise<Record<string, unknown>> {
  writeFileSync(at("m.ckpt"), checkpoint(value));
  const opened = await openCheckpoint(at("m.ckpt"));
  await opened.close();
  return opened.rest;
}

async function messageOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (error: unknown) => error,
  );
  if (!(error instanceof CheckpointError)) throw new Error("not a CheckpointError", { cause: error });
  return error.message.replace(`${at("m.ckpt")}: `, "");
}

const mark = "(";
const frame = (value: Uint8Array) => bytesOf(0x95, value.length, "\0\0\0\0\0\0\0", value);

test.each<[string, Uint8Array, unknown]>([
  ["None", bytesOf("N"), null],
  ["True and False", bytesOf("(", 0x88, 0x89, "l"), [true, false]],
  ["one-byte integers", bytesOf("K", 255), 255],
  ["two-byte integers", bytesOf("M", 0x34, 0x12), 0x1234],
  ["four-byte integers, negative", bytesOf("J", 0xfe, 0xff, 0xff, 0xff), -2],
  ["long integers", bytesOf(0x8a, 2, 0x00, 0x80), -32768],
  ["long integers of no bytes", bytesOf(0x8a, 0), 0],
  ["long integers with a long length", bytesOf(0x8b, 1, 0, 0, 0, 7), 7],
  ["integers over 2^53, as text", push.int(2n ** 53n + 1n), "9007199254740993"],
  ["floats", bytesOf("G", 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), 1.5],
  [
    "floats that are no number, as text",
    bytesOf("(F", "inf\n", "F-inf\n", "Fnan\n", "l"),
    ["Infinity", "-Infinity", "NaN"],
  ],
  ["text integers", bytesOf("(I12\nI01\nI00\nL-5L\nl"), [12, true, false, -5]],
  ["text floats", bytesOf("F-2.5e-1\n"), -0.25],
  ["text strings with escapes", bytesOf("S'a\\'\\n\\x41\\101\\\\'\n"), "a'\nAA\\"],
  ["raw unicode", bytesOf("V\\u03c3\\U0001f600 x\n"), "σ😀 x"],
  ["old strings", bytesOf("(T", 2, 0, 0, 0, "a\xe9U", 1, "bl"), ["aé", "b"]],
  ["short text", bytesOf(0x8c, 2, 0xcf, 0x83), "σ"],
  ["long text", bytesOf(0x8d, 1, 0, 0, 0, 0, 0, 0, 0, "x"), "x"],
  [
    "bytes, by their length",
    bytesOf("(B", 1, 0, 0, 0, "xC", 2, "xx", 0x8e, 3, 0, 0, 0, 0, 0, 0, 0, "xxx", 0x96, 0, 0, 0, 0, 0, 0, 0, 0, "l"),
    ["<1 bytes>", "<2 bytes>", "<3 bytes>", "<0 bytes>"],
  ],
  ["lists", bytesOf("]K", 1, "a(K", 2, "K", 3, "e"), [1, 2, 3]],
  [
    "tuples of every length",
    bytesOf("()K", 1, 0x85, "K", 1, "K", 2, 0x86, "K", 1, "K", 2, "K", 3, 0x87, "l"),
    [[], [1], [1, 2], [1, 2, 3]],
  ],
  ["dictionaries", bytesOf("(", push.text("a"), "K", 1, "d", push.text("b"), "K", 2, "s"), { a: 1, b: 2 }],
  [
    "keys that are no text",
    bytesOf("}(K", 1, "K", 9, push.tuple(push.int(1), push.text("x")), "K", 8, "u"),
    { 1: 9, "(1, x)": 8 },
  ],
  ["sets", bytesOf(mark, 0x8f, "(K", 1, 0x90, "(K", 2, 0x91, "l"), [[1], [2]]],
  [
    "the memo",
    bytesOf("(", push.text("x"), "q", 3, "h", 3, "p7\n", "g7\n", "r", 9, 0, 0, 0, "j", 9, 0, 0, 0, "l"),
    ["x", "x", "x", "x"],
  ],
  [
    "the counted memo",
    bytesOf(mark, push.text("x"), 0x94, push.text("y"), 0x94, "h", 0, "h", 1, "l"),
    ["x", "y", "x", "y"],
  ],
  ["what is dropped and doubled", bytesOf("(K", 1, "2K", 3, "0K", 4, "(K", 5, "1l"), [1, 1, 4]],
  ["frames", frame(bytesOf("K", 4)), 4],
  ["a list inside itself", bytesOf("]q", 1, "h", 1, "a"), ["<cycle>"]],
  ["a name like those that objects have", push.dict({ __proto__x: bytesOf("N") }), { __proto__x: null }],
  [
    "types",
    bytesOf(mark, push.global("typing", "Any"), push.global("__builtin__", "dict"), "l"),
    ["typing.Any", "builtins.dict"],
  ],
  ["functions that are only mentioned", push.global("src.losses", "focal_loss"), "src.losses.focal_loss"],
  [
    "an ordered dictionary with attributes",
    bytesOf(push.call("collections", "OrderedDict"), push.dict({ _metadata: push.dict({}) }), "b"),
    {},
  ],
  [
    "an ordered dictionary of pairs",
    push.call("collections", "OrderedDict", push.list(push.list(push.text("a"), push.int(1)))),
    { a: 1 },
  ],
  ["a default dictionary", push.call("collections", "defaultdict", push.global("builtins", "list")), {}],
  ["built-in sets", push.call("builtins", "set", push.list(push.int(1))), [1]],
  ["bytes as protocol 2 writes them", push.call("_codecs", "encode", push.text("é"), push.text("latin1")), "<1 bytes>"],
  [
    "sizes and devices",
    bytesOf(
      mark,
      push.call("torch", "Size", push.list(push.int(3))),
      push.call("torch", "device", push.text("cuda"), push.int(1)),
      "l",
    ),
    [[3], "cuda:1"],
  ],
  ["types of PyTorch", push.global("torch", "float16"), "torch.float16"],
  [
    "numbers of NumPy",
    push.call(
      "numpy.core.multiarray",
      "scalar",
      push.call("numpy", "dtype", push.text("f8"), bytesOf(0x89), bytesOf(0x88)),
      bytesOf("C", 8, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f),
    ),
    1.5,
  ],
])("reads %s", async (_, value, expected) => {
  expect(await readValue(value)).toEqual(expected);
});

const config = (module: string, name: string) =>
  bytesOf(push.global(module, name), ")", 0x81, push.dict({ depth: push.int(2) }), "b");

test.each<[string, Uint8Array, unknown]>([
  ["an object with fields", config("my.lib", "Config"), { __class__: "my.lib.Config", depth: 2 }],
  ["an object of the script itself", config("__main__", "Config"), { __class__: "__main__.Config", depth: 2 }],
  ["a namespace of arguments", config("argparse", "Namespace"), { __class__: "argparse.Namespace", depth: 2 }],
  [
    "an object of a class inside a class",
    config("my.lib", "Outer.Inner"),
    { __class__: "my.lib.Outer.Inner", depth: 2 },
  ],
  ["an enumeration", push.call("my.lib", "Mode", push.text("fast")), { __class__: "my.lib.Mode", arguments: ["fast"] }],
  [
    "a path",
    push.call("pathlib", "PosixPath", push.text("runs"), push.text("1")),
    { __class__: "pathlib.PosixPath", arguments: ["runs", "1"] },
  ],
  [
    "a list and a dictionary of a library's own",
    bytesOf(
      "(",
      push.global("my.lib", "Items"),
      ")",
      0x81,
      "K",
      1,
      "a",
      push.global("my.lib", "Map"),
      ")",
      0x81,
      push.text("k"),
      "K",
      2,
      "sl",
    ),
    [
      { __class__: "my.lib.Items", items: [1] },
      { __class__: "my.lib.Map", k: 2 },
    ],
  ],
  [
    "a state that is no dictionary",
    bytesOf(push.global("my.lib", "Box"), ")", 0x81, "K", 5, "b"),
    { __class__: "my.lib.Box", state: 5 },
  ],
  [
    "an object made by the oldest protocol",
    push.call(
      "copy_reg",
      "_reconstructor",
      push.global("my.lib", "Old"),
      push.global("__builtin__", "object"),
      bytesOf("N"),
    ),
    { __class__: "my.lib.Old" },
  ],
  ["an old-style instance", bytesOf("(K", 1, "imy.lib\nOld\n"), { __class__: "my.lib.Old", arguments: [1] }],
  [
    "an instance made from the stack",
    bytesOf("(", push.global("my.lib", "Old"), "K", 1, "o"),
    { __class__: "my.lib.Old", arguments: [1] },
  ],
  [
    "an object made with keywords",
    bytesOf(push.global("my.lib", "Kw"), ")", push.dict({ a: push.int(1) }), 0x92),
    { __class__: "my.lib.Kw", a: 1 },
  ],
  [
    "an object that holds itself",
    bytesOf(push.global("my.lib", "Node"), ")", 0x81, "q", 1, "}", push.text("self"), "h", 1, "sb"),
    { __class__: "my.lib.Node", self: "<cycle>" },
  ],
])("keeps %s as a record", async (_, value, expected) => {
  expect(await readValue(value)).toEqual(expected);
});

const command = push.text("echo it ran");
test.each<[string, Uint8Array, string]>([
  ["os.system", push.call("os", "system", command), "os.system"],
  ["a name of the standard library that is only mentioned", push.global("os", "system"), "os.system"],
  ["a process", push.call("subprocess", "Popen", command), "subprocess.Popen"],
  [
    "an object of a class of the standard library",
    bytesOf(push.global("subprocess", "Popen"), ")", 0x81),
    "subprocess.Popen",
  ],
  ["eval under its new name", push.call("builtins", "eval", command), "builtins.eval"],
  ["eval under its old name", push.call("__builtin__", "eval", command), "__builtin__.eval"],
  ["getattr", push.call("builtins", "getattr", push.global("my.lib", "Mode"), command), "builtins.getattr"],
  ["a part of the standard library", push.call("_posixsubprocess", "fork_exec"), "_posixsubprocess.fork_exec"],
  [
    "a module below another",
    push.call("importlib.util", "spec_from_file_location", command),
    "importlib.util.spec_from_file_location",
  ],
  ["a function of another library", push.call("my.lib", "run", command), "my.lib.run"],
  ["a function inside a class", push.call("my.lib", "Shell.run", command), "my.lib.Shell.run"],
  ["a function of PyTorch", push.call("torch", "load", command), "torch.load"],
  [
    "a rebuilder that we do not know",
    push.call("torch._utils", "_rebuild_sparse_tensor"),
    "torch._utils._rebuild_sparse_tensor",
  ],
  ["a call of a type that is only data", push.call("typing", "Any"), "typing.Any"],
  ["a name from the stack", bytesOf(push.text("os"), push.text("system"), 0x93), "os.system"],
  ["an old-style instance", bytesOf("(", command, "ios\nsystem\n"), "os.system"],
  ["a name that every JavaScript object has", push.call("my.lib", "constructor"), "my.lib.constructor"],
  ["a function as if it were a class", bytesOf(push.global("my.lib", "run"), ")", 0x81), "my.lib.run"],
])("refuses %s by name", async (_, value, name) => {
  expect(await messageOf(readValue(value))).toBe(
    `pickle: the global "${name}" is not allowed in a checkpoint; it was refused, and no code was run`,
  );
});

test.each<[string, Uint8Array, string]>([
  ["an opcode that there is none of", bytesOf(0xff), "unknown opcode 0xff at byte 5"],
  ["an extension", bytesOf(0x82, 1), "unknown opcode 0x82 at byte 5"],
  ["a buffer outside the file", bytesOf(0x97), "unknown opcode 0x97 at byte 5"],
  ["a protocol to come", bytesOf(0x80, 6), "protocol 6 is newer than 5"],
  ["an end without a value", bytesOf("0."), "takes from an empty stack"],
  ["a mark that was never set", bytesOf("t"), "returns to a mark that was never set"],
  ["a memo that was never set", bytesOf("h", 9), "recalls memo 9, which was never set"],
  ["a key without a value", bytesOf("}(N", "u"), "sets a key without a value"],
  ["items of a number", bytesOf("K", 1, "(NNu"), "sets items of something that is not a dictionary"],
  ["an append to a number", bytesOf("K", 1, "Na"), "appends to something that is not a list"],
  ["a state of a number", bytesOf("K", 1, "Nb"), "gives a state to plain data"],
  ["a call of a number", bytesOf("K", 1, ")R"), "calls something that is not a global"],
  [
    "a call without a tuple",
    bytesOf(push.global("my.lib", "C"), "NR"),
    'calls "my.lib.C" with arguments that are not a tuple',
  ],
  ["a name that is a number", bytesOf("K", 1, "K", 2, 0x93), "the name of a global is not text"],
  ["a storage id that is text", bytesOf("Pcpu\n"), "a persistent id does not name a storage"],
  ["an integer without digits", bytesOf("Iten\n"), "has an invalid integer"],
  ["a number without digits", bytesOf("Ften\n"), "has an invalid number"],
  ["a string without quotes", bytesOf("Sten\n"), "has an invalid string"],
  [
    "an integer of a million digits",
    bytesOf(0x8b, 0x40, 0x42, 0x0f, 0),
    "has an integer of 1000000 bytes; at most 512 are accepted",
  ],
  [
    "a rebuilder of no storage",
    push.call("torch._utils", "_rebuild_tensor_v2"),
    'calls "torch._utils._rebuild_tensor_v2" with arguments that it does not accept',
  ],
  [
    "a dictionary of numbers",
    push.call("collections", "OrderedDict", push.list(push.int(1))),
    'calls "collections.OrderedDict" with arguments that it does not accept',
  ],
  [
    "a text that ends after the pickle",
    bytesOf("X", 0xff, 0xff, 0xff, 0x7f),
    "ends at byte 11, before its last opcode",
  ],
  [
    "a text as long as 64 bits can say",
    bytesOf(0x8d, ...Array<number>(8).fill(0xff)),
    "ends at byte 15, before its last opcode",
  ],
])("refuses %s", async (_, value, message) => {
  expect(await messageOf(restOf(bytesOf("}N0", value)))).toBe(`pickle: ${message}`);
});

test("a pickle that nests a hundred thousand levels is an error, whatever it nests", async () => {
  const n = 100_000;
  const list = bytesOf("]".repeat(n), "a".repeat(n - 1));
  const tuple = bytesOf("N", "\x85".repeat(n));
  const state = bytesOf("N", ...Array.from({ length: 2000 }, () => wrapState()));
  expect(await messageOf(readValue(list))).toBe("nests values more than 200 levels deep");
  expect(await messageOf(readValue(tuple))).toBe("nests values more than 200 levels deep");
  expect(await messageOf(readValue(state))).toBe("nests values more than 200 levels deep");
});

/** Puts what is on the stack into the content of a configuration: the one place where a level of objects adds no key. */
function wrapState(): Uint8Array {
  const made = bytesOf(push.global("omegaconf.nodes", "AnyNode"), ")", 0x81);
  return bytesOf("q", 200, "0", made, "}", push.text("_val"), "h", 200, "sb");
}

test("a few bytes that mean endless JSON are an error: each list holds the one before it ten times", async () => {
  const level = bytesOf("q", 1, "0](", "h\x01".repeat(10), "e");
  const value = bytesOf("]", ...Array.from({ length: 30 }, () => level));
  expect(await messageOf(readValue(value))).toBe("describes more than 1000000 values");
});

test("a pickle over the limit is not read", async () => {
  const bytes = new Uint8Array(2 ** 26 + 1);
  writeFileSync(at("m.ckpt"), zip({ "archive/data.pkl": bytes }, { deflated: true }));
  expect(await messageOf(openCheckpoint(at("m.ckpt")))).toBe("a pickle of 67108865 bytes is longer than 67108864");
});

test("a pickle of too many steps is not run to its end", async () => {
  const value = new Uint8Array(2 ** 23 + 100).map((_, i) => (i % 2 === 0 ? "N" : "0").charCodeAt(0));
  writeFileSync(at("m.ckpt"), zip({ "archive/data.pkl": value }, { deflated: true }));
  expect(await messageOf(openCheckpoint(at("m.ckpt")))).toBe("the pickle has more than 8388608 opcodes");
});

test("values that are no dictionary, and none at all, are what they are", async () => {
  expect(await restOf(bytesOf("N"))).toEqual({ value: null });
  expect(await restOf(push.list(push.int(1)))).toEqual({ value: [1] });
  expect(await restOf(push.dict({}))).toEqual({});
  expect(await restOf(push.dict({ state_dict: push.dict({ version: push.int(2) }) }))).toEqual({
    state_dict: { version: 2 },
  });
});

test("what follows the last opcode is not looked at", async () => {
  writeFileSync(at("m.ckpt"), zip({ "archive/data.pkl": bytesOf(pickle(push.dict({})), "cos\nsystem\n)R.") }));
  const opened = await openCheckpoint(at("m.ckpt"));
  await opened.close();
  expect(opened.rest).toEqual({});
});
