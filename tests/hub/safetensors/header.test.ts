// Every rule of the format on bytes made by hand: what must be read, and the exact words for what must not.

import { expect, test } from "bun:test";
import { openSafetensorsBytes } from "../../../hub/safetensors/read.ts";
import { SafetensorsError } from "../../../hub/safetensors/types.ts";
import { entry, fileBytes } from "./bytes.ts";

const ALL_DTYPES =
  "F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL C64 U64 U32 U16 F8_E4M3 F8_E4M3FNUZ F8_E5M2 F8_E5M2FNUZ F8_E8M0 F6_E2M3 F6_E3M2 F4";
const f32 = entry("F32", [2], [0, 8]);
const utf8 = (text: string) => new TextEncoder().encode(text);
const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;

test.each<[string, Uint8Array, string]>([
  [
    "an empty file",
    new Uint8Array(0),
    "f: is 0 bytes long, shorter than the 8 bytes that hold the length of the header",
  ],
  ["seven bytes", new Uint8Array(7), "f: is 7 bytes long, shorter than the 8 bytes that hold the length of the header"],
  ["a header of no bytes", new Uint8Array(8), "f: header must begin with {"],
  [
    "a header over the limit",
    fileBytes("{}", 0, { length: 100_000_001n }),
    "f: header of 100000001 bytes is longer than 100000000",
  ],
  [
    "the largest length that 64 bits hold",
    fileBytes("{}", 0, { length: 2n ** 64n - 1n }),
    "f: header of 18446744073709551615 bytes is longer than 100000000",
  ],
  [
    "a header past the end",
    fileBytes("{}", 0, { length: 3n }),
    "f: header of 3 bytes does not fit in a file of 10 bytes",
  ],
  ["a header after a space", fileBytes(" {}"), "f: header must begin with {"],
  ["a header after a byte order mark", fileBytes("\ufeff{}"), "f: header must begin with {"],
  ["a list", fileBytes("[]"), "f: header must begin with {"],
  ["text cut short", fileBytes('{"a":'), "f: header is not JSON"],
  ["two documents", fileBytes("{}{}"), "f: header is not JSON"],
  ["a comma too many", fileBytes("{,}"), "f: header is not JSON"],
  ["zero bytes after the header", fileBytes("{}\0"), "f: header is not JSON"],
  [
    "bytes that are no UTF-8",
    fileBytes(new Uint8Array([...utf8('{"a'), 0xff, ...utf8('":1}')])),
    "f: header is not UTF-8",
  ],
  [
    "half of a surrogate pair in a name",
    fileBytes(`{"\\ud800":${f32}}`, 8),
    'f: tensor "\\ud800": the name is not well-formed Unicode',
  ],
  ["a tensor named twice", fileBytes(`{"a":${f32},"a":${f32}}`, 8), 'f: "a" appears twice'],
  ["a tensor named twice, once in escapes", fileBytes(`{"a":${f32},"\\u0061":${f32}}`, 8), 'f: "a" appears twice'],
  [
    "a field named twice",
    fileBytes('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    'f: tensor "a": "dtype" appears twice',
  ],
  ["metadata twice", fileBytes('{"__metadata__":{},"__metadata__":{}}'), 'f: "__metadata__" appears twice'],
  ["a key of the metadata twice", fileBytes('{"__metadata__":{"k":"1","k":"2"}}'), 'f: metadata "k" appears twice'],
  ["metadata that is text", fileBytes('{"__metadata__":"x"}'), "f: __metadata__ must map strings to strings"],
  ["metadata that is null", fileBytes('{"__metadata__":null}'), "f: __metadata__ must map strings to strings"],
  ["metadata that is a list", fileBytes('{"__metadata__":[]}'), "f: __metadata__ must map strings to strings"],
  ["a number in the metadata", fileBytes('{"__metadata__":{"k":1}}'), 'f: metadata "k" must be a string, is 1'],
  ["an object in the metadata", fileBytes('{"__metadata__":{"k":{}}}'), 'f: metadata "k" must be a string, is {}'],
  ["a tensor that is a number", fileBytes('{"a":1}'), 'f: tensor "a": must be an object, is 1'],
  ["a tensor that is a list", fileBytes('{"a":[]}'), 'f: tensor "a": must be an object, is []'],
  [
    "a dtype that the format does not have",
    fileBytes(`{"a":${entry("F128", [1], [0, 1])}}`, 1),
    `f: tensor "a": dtype "F128" is not one of ${ALL_DTYPES}`,
  ],
  [
    "a dtype that every object has",
    fileBytes(`{"a":${entry("constructor", [1], [0, 1])}}`, 1),
    `f: tensor "a": dtype "constructor" is not one of ${ALL_DTYPES}`,
  ],
  [
    "no dtype",
    fileBytes('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1),
    `f: tensor "a": dtype missing is not one of ${ALL_DTYPES}`,
  ],
  [
    "no shape",
    fileBytes('{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1),
    'f: tensor "a": shape must be a list of non-negative integers, is missing',
  ],
  [
    "a shape that is a number",
    fileBytes(`{"a":${entry("U8", 1, [0, 1])}}`, 1),
    'f: tensor "a": shape must be a list of non-negative integers, is 1',
  ],
  [
    "text in a shape",
    fileBytes(`{"a":${entry("U8", ["1"], [0, 1])}}`, 1),
    'f: tensor "a": shape must be a list of non-negative integers, is ["1"]',
  ],
  [
    "a side over 2^53",
    fileBytes('{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,1]}}', 1),
    'f: tensor "a": shape must be a list of non-negative integers, is [9007199254740992]',
  ],
  [
    "a negative side",
    fileBytes(`{"a":${entry("U8", [-1], [0, 1])}}`, 1),
    'f: tensor "a": numbers must be plain integers',
  ],
  ["half a side", fileBytes(`{"a":${entry("U8", [0.5], [0, 1])}}`, 1), 'f: tensor "a": numbers must be plain integers'],
  [
    "a side with a decimal point",
    fileBytes('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', 1),
    'f: tensor "a": numbers must be plain integers',
  ],
  [
    "a side with an exponent",
    fileBytes('{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', 1),
    'f: tensor "a": numbers must be plain integers',
  ],
  [
    "one offset",
    fileBytes(`{"a":${entry("U8", [1], [0])}}`, 1),
    'f: tensor "a": data_offsets must be two non-negative integers, are [0]',
  ],
  [
    "three offsets",
    fileBytes(`{"a":${entry("U8", [1], [0, 1, 1])}}`, 1),
    'f: tensor "a": data_offsets must be two non-negative integers, are [0, 1, 1]',
  ],
  [
    "offsets that are an object",
    fileBytes(`{"a":${entry("U8", [1], { length: 2 })}}`, 1),
    'f: tensor "a": data_offsets must be two non-negative integers, are {"length":2}',
  ],
  [
    "offsets the wrong way round",
    fileBytes(`{"a":${entry("U8", [1], [1, 0])}}`, 1),
    'f: tensor "a": data_offsets begin at 1, after their end at 0',
  ],
  [
    "offsets past the buffer",
    fileBytes(`{"a":${entry("U8", [2], [0, 2])}}`, 1),
    'f: tensor "a": data_offsets end at 2, outside the buffer of 1 bytes',
  ],
  [
    "more bytes than the shape needs",
    fileBytes(`{"a":${entry("F32", [2], [0, 9])}}`, 9),
    'f: tensor "a": F32 [2] needs 8 bytes, data_offsets give 9',
  ],
  [
    "fewer bytes than the shape needs",
    fileBytes(`{"a":${entry("BF16", [2, 3], [0, 8])}}`, 8),
    'f: tensor "a": BF16 [2, 3] needs 12 bytes, data_offsets give 8',
  ],
  [
    "a 0-dimensional tensor without its element",
    fileBytes(`{"a":${entry("I64", [], [0, 0])}}`),
    'f: tensor "a": I64 [] needs 8 bytes, data_offsets give 0',
  ],
  [
    "a product over 2^53",
    fileBytes(`{"a":${entry("U8", [2 ** 40, 2 ** 40], [0, 1])}}`, 1),
    'f: tensor "a": shape [1099511627776, 1099511627776] has more bytes than can be counted',
  ],
  [
    "a product that wraps to the right size in 64 bits",
    fileBytes(`{"a":${entry("F32", [2 ** 31, 2 ** 31, 1, 2], [0, 0])}}`),
    'f: tensor "a": shape [2147483648, 2147483648, 1, 2] has more bytes than can be counted',
  ],
  [
    "overlapping tensors",
    fileBytes(`{"a":${entry("U8", [4], [0, 4])},"b":${entry("U8", [4], [3, 7])}}`, 7),
    'f: tensor "b": its bytes overlap those of "a"',
  ],
  [
    "two tensors in one place",
    fileBytes(`{"a":${f32},"b":${f32}}`, 8),
    'f: tensor "b": its bytes overlap those of "a"',
  ],
  [
    "an empty tensor inside another",
    fileBytes(`{"a":${f32},"b":${entry("U8", [0], [4, 4])}}`, 8),
    'f: tensor "b": its bytes overlap those of "a"',
  ],
  [
    "a hole",
    fileBytes(`{"a":${entry("U8", [1], [0, 1])},"b":${entry("U8", [1], [2, 3])}}`, 3),
    'f: tensor "b": bytes 1 to 2 before it belong to no tensor',
  ],
  [
    "a buffer that does not begin at 0",
    fileBytes(`{"a":${entry("U8", [1], [1, 2])}}`, 2),
    'f: tensor "a": bytes 0 to 1 before it belong to no tensor',
  ],
  [
    "bytes after the last tensor",
    fileBytes(`{"a":${entry("U8", [1], [0, 1])}}`, 4),
    "f: the last 3 bytes belong to no tensor",
  ],
  ["a buffer without tensors", fileBytes("{}", 1), "f: the last 1 bytes belong to no tensor"],
])("refuses %s", async (_, bytes, message) => {
  const error = await openSafetensorsBytes(bytes, "f").catch((error: unknown) => error);
  expect(error).toBeInstanceOf(SafetensorsError);
  expect((error as Error).message).toBe(message);
});

test("refuses nesting without end, and does not run out of stack", async () => {
  for (const field of [`"shape":${deep}`, `"more":${deep},"shape":[1]`, '"shape":[1]']) {
    const bytes = fileBytes(`{"a":{"dtype":"U8",${field},"data_offsets":${deep}}}`, 1);
    const error = await openSafetensorsBytes(bytes, "f").catch((error: unknown) => error);
    expect(error).toBeInstanceOf(SafetensorsError);
    expect((error as Error).message.length).toBeLessThan(300);
  }
});

test("an error names the file and the tensor as fields too, and quotes a name on one line", async () => {
  const bytes = fileBytes(`{${JSON.stringify(`line\nbreak${"x".repeat(1000)}`)}:1}`);
  const error = (await openSafetensorsBytes(bytes, "dir/model.safetensors").catch((error: unknown) => error)) as {
    file: string;
    tensor: string;
    message: string;
  };
  expect(error.file).toBe("dir/model.safetensors");
  expect(error.tensor).toStartWith("line\nbreak");
  expect(error.message).not.toContain("\n");
  expect(error.message.length).toBeLessThan(300);
});

test("reads what the rules allow: no tensors, spaces after the header, empty and 0-dimensional tensors, extra fields", async () => {
  expect((await openSafetensorsBytes(fileBytes("{}      "))).tensors.size).toBe(0);
  const header = `{"__metadata__":{"k":"v"},"z":${entry("U8", [0, 5], [2, 2])},"a":${entry("U8", [], [2, 3])},"b":{"x":[true,null],"data_offsets":[0,2],"shape":[1,2,1],"dtype":"BOOL"}}  `;
  const file = await openSafetensorsBytes(fileBytes(header, 3));
  expect([...file.metadata]).toEqual([["k", "v"]]);
  expect([...file.tensors.keys()]).toEqual(["b", "z", "a"]);
  expect(await file.read("z")).toEqual({ dtype: "U8", shape: [0, 5], data: new Uint8Array(0) });
  expect(await file.read("a")).toEqual({ dtype: "U8", shape: [], data: new Uint8Array([2]) });
  expect(await file.read("b")).toEqual({ dtype: "BOOL", shape: [1, 2, 1], data: new Uint8Array([0, 1]) });
});

test("an empty tensor may have sides whose product could not be counted", async () => {
  const file = await openSafetensorsBytes(fileBytes(`{"a":${entry("F64", [2 ** 50, 2 ** 50, 0], [0, 0])}}`));
  expect((await file.read("a")).data.length).toBe(0);
});

test("names that objects treat specially are names like others", async () => {
  const header = `{"__proto__":${entry("U8", [1], [0, 1])},"1":${entry("U8", [1], [1, 2])},"":${entry("U8", [1], [2, 3])}}`;
  const file = await openSafetensorsBytes(fileBytes(header, 3));
  expect([...file.tensors.keys()]).toEqual(["__proto__", "1", ""]);
  expect((await file.read("__proto__")).data[0]).toBe(0);
});

test("a tensor that is not there is an error that names it", async () => {
  const file = await openSafetensorsBytes(fileBytes("{}"), "f");
  await expect(file.read("toString")).rejects.toThrow('f: has no tensor "toString"');
});
