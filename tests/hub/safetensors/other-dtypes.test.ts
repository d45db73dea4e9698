// Types of the format that are not computed with: such tensors are listed and copied, the others of their file are read,
// and only reading one of them is refused.

import { expect, test } from "bun:test";
import { findLayers } from "../../../hub/model-folder/index.ts";
import { openSafetensors, writeSafetensors } from "../../../hub/safetensors/index.ts";
import { openSafetensorsBytes } from "../../../hub/safetensors/read.ts";
import { PATIENCE, pythonWith } from "../../python/python.ts";
import { temporaryFolder } from "../temporary.ts";
import { entry, fileBytes } from "./bytes.ts";

const at = temporaryFolder();

/** Each type, and the bytes of eight elements. */
const OTHERS: [string, number][] = [
  ["U16", 16],
  ["U32", 32],
  ["U64", 64],
  ["C64", 64],
  ["F8_E4M3", 8],
  ["F8_E4M3FNUZ", 8],
  ["F8_E5M2", 8],
  ["F8_E5M2FNUZ", 8],
  ["F8_E8M0", 8],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["F4", 4],
];

test.each(OTHERS)("a tensor of %s is listed, and refused by name only when it is read", async (dtype, bytes) => {
  const header = `{"a":${entry("U8", [4], [0, 4])},"n":${entry(dtype, [2, 4], [4, 4 + bytes])}}`;
  const file = await openSafetensorsBytes(fileBytes(header, 4 + bytes), "f");
  expect(file.tensors.get("n")).toMatchObject({ dtype, shape: [2, 4], byteLength: bytes } as object);
  expect((await file.read("a")).data).toEqual(Uint8Array.of(0, 1, 2, 3));
  await expect(file.read("n")).rejects.toThrow(
    `f: tensor "n": is ${dtype}, whose values cannot be read here; convert it to one of F64 F32`,
  );
  // Weights of 8 bits cost what others do; packed ones, scales and integers are no matrices of real numbers.
  const { layers } = findLayers({ path: "f", tensors: file });
  const dense = { structure: "dense", name: "n", nIn: 4, nOut: 2 };
  const found = layers.map(({ structure, name, nIn, nOut }) => ({ structure, name, nIn, nOut }));
  expect(found).toEqual(/^F8_E[45]M/.test(dtype) ? [dense] : []);
});

test("such a tensor is copied byte for byte, each type after the larger ones", async () => {
  const header = `{"a":${entry("F8_E5M2", [3], [0, 3])},"b":${entry("F4", [2], [3, 4])},"c":${entry("U64", [1], [4, 12])}}`;
  const file = await openSafetensorsBytes(fileBytes(header, 12));
  const sources = Array.from(file.tensors, ([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
    data: () => file.chunks(name),
  }));
  await writeSafetensors(at("copy.safetensors"), sources);
  const copy = await openSafetensors(at("copy.safetensors"));
  expect([...copy.tensors.keys()]).toEqual(["c", "a", "b"]);
  for (const name of ["a", "b", "c"]) {
    expect(await Array.fromAsync(copy.chunks(name))).toEqual(await Array.fromAsync(file.chunks(name)));
  }
  await copy.close();
});

test.each([
  ["F4", [3], 2, "F4 [3] is not a whole number of bytes"],
  ["F6_E2M3", [2], 2, "F6_E2M3 [2] is not a whole number of bytes"],
  ["F8_E4M3", [3], 2, "F8_E4M3 [3] needs 3 bytes, data_offsets give 2"],
  ["U32", [2 ** 52], 2, "shape [4503599627370496] has more bytes than can be counted"],
])("%s %j in %d bytes is refused", async (dtype, shape, bytes, problem) => {
  const opening = openSafetensorsBytes(fileBytes(`{"a":${entry(dtype, shape, [0, bytes])}}`, bytes), "f");
  await expect(opening).rejects.toThrow(`f: tensor "a": ${problem}`);
});

const SCRIPT = `
import sys, torch
from safetensors.torch import save_file
names = "uint16 uint32 uint64 complex64 float8_e4m3fn float8_e5m2 float8_e8m0fnu".split()
others = {name: torch.arange(1, 7).float().to(getattr(torch, name)) for name in names}
save_file({"a": torch.tensor([1.5, -2.0]), **others}, sys.argv[1])
torch.save({"a": torch.tensor([1.5, -2.0]), **others}, sys.argv[2])
`;

// The version: older ones have not all of the types.
const python = pythonWith("safetensors", "torch.float8_e8m0fnu", "torch.uint64");

test.skipIf(!python)(
  "what Python's safetensors and PyTorch write in these types is listed, and what is float32 beside them read",
  async () => {
    const [file, checkpoint] = [at("python.safetensors"), at("python.pth")];
    const { exitCode, stderr } = Bun.spawnSync([python as string, "-W", "ignore", "-c", SCRIPT, file, checkpoint]);
    expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
    const { openCheckpoint } = await import("../../../hub/checkpoint/index.ts");
    const [one, other] = [await openSafetensors(file), await openCheckpoint(checkpoint)];
    const dtypes = {
      a: "F32",
      uint16: "U16",
      uint32: "U32",
      uint64: "U64",
      complex64: "C64",
      float8_e4m3fn: "F8_E4M3",
      float8_e5m2: "F8_E5M2",
      float8_e8m0fnu: "F8_E8M0",
    };
    for (const open of [one, other]) {
      expect(Object.fromEntries(Array.from(open.tensors, ([name, { dtype }]) => [name, dtype as string]))).toEqual(
        dtypes,
      );
      expect((await open.read("a")).data).toEqual(Float32Array.of(1.5, -2));
      await expect(open.read("uint16")).rejects.toThrow('tensor "uint16": is U16, whose values cannot be read here');
    }
    for (const name of Object.keys(dtypes)) {
      expect(await Array.fromAsync(other.chunks(name))).toEqual(await Array.fromAsync(one.chunks(name)));
    }
    await Promise.all([one.close(), other.close()]);
  },
  PATIENCE,
);
