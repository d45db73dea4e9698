// What is written is what is read: random tensors through memory and disk, files of another implementation byte by byte,
// and mutated files, which must be read or refused with the one error.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import fc from "fast-check";
import { openSafetensors, writeSafetensors } from "../../../hub/safetensors/index.ts";
import { openSafetensorsBytes, readAll } from "../../../hub/safetensors/read.ts";
import { SafetensorsError } from "../../../hub/safetensors/types.ts";
import { encodeSafetensors, sourcesOf } from "../../../hub/safetensors/write.ts";
import { fixture, temporaryFolder } from "../temporary.ts";
import { anyTensors, bitsByName } from "./tensors.ts";

const at = temporaryFolder();
const anyMetadata = fc.dictionary(fc.string({ unit: "grapheme", maxLength: 6 }), fc.string({ unit: "grapheme" }), {
  maxKeys: 3,
});

test("any tensors and metadata come back bit for bit", async () => {
  await fc.assert(
    fc.asyncProperty(anyTensors, anyMetadata, async (tensors, metadata) => {
      const bytes = await encodeSafetensors(sourcesOf(tensors), { metadata });
      const file = await openSafetensorsBytes(bytes);
      expect(Object.fromEntries(file.metadata)).toEqual({ ...metadata });
      expect(bitsByName(await readAll(file))).toEqual(bitsByName(tensors));
    }),
    { numRuns: 300, seed: 1 },
  );
});

test("a file on disk has the bytes of the one in memory, and streaming gives what reading gives", async () => {
  await fc.assert(
    fc.asyncProperty(anyTensors, async (tensors) => {
      const path = at("model.safetensors");
      await writeSafetensors(path, sourcesOf(tensors), { metadata: { format: "pt" } });
      const encoded = await encodeSafetensors(sourcesOf(tensors), { metadata: { format: "pt" } });
      expect(Buffer.compare(readFileSync(path), encoded)).toBe(0);
      const file = await openSafetensors(path);
      for (const [name, { data }] of tensors) {
        const pieces: Uint8Array[] = [];
        for await (const piece of file.chunks(name)) pieces.push(piece);
        expect(Buffer.concat(pieces).toString("hex")).toBe(
          Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex"),
        );
      }
      await file.close();
    }),
    { numRuns: 30, seed: 2 },
  );
});

test("every tensor begins at a multiple of its element's size, so that a mapped file can be viewed", async () => {
  await fc.assert(
    fc.asyncProperty(anyTensors, async (tensors) => {
      const bytes = await encodeSafetensors(sourcesOf(tensors));
      const buffer = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
      for (const [name, { start }] of (await openSafetensorsBytes(bytes)).tensors) {
        expect((buffer + start) % (tensors.get(name)?.data.BYTES_PER_ELEMENT as number)).toBe(0);
      }
    }),
    { numRuns: 100, seed: 3 },
  );
});

test.each(["tiny-gpt2-gaudi", "variants", "opaque-hparams"])(
  "the tensors of %s.safetensors, written by another implementation, are written again byte for byte",
  async (name) => {
    const bytes = new Uint8Array(readFileSync(fixture(`${name}.safetensors`)));
    const file = await openSafetensorsBytes(bytes);
    const again = await encodeSafetensors(sourcesOf(await readAll(file)), file);
    expect(bufferOf(again).equals(bufferOf(bytes))).toBe(true);
    const { tensors, metadata } = await openSafetensorsBytes(again);
    expect([...tensors]).toEqual([...file.tensors]);
    expect([...metadata]).toEqual([...file.metadata]);
  },
);

/** What follows the header. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.subarray(8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))));
}

test("mutated files are read or refused with SafetensorsError, never anything else", async () => {
  const original = new Uint8Array(readFileSync(fixture("variants.safetensors")));
  const headerEnd = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));
  let refused = 0;
  for (let seed = 1; seed <= 4000; seed++) {
    const error = await readMutated(mutate(original, { seed, headerEnd }));
    if (error === undefined) continue;
    if (!(error instanceof SafetensorsError)) throw new Error(`seed ${seed}`, { cause: error });
    refused++;
  }
  expect(refused).toBeGreaterThan(2000);
});

async function readMutated(bytes: Uint8Array): Promise<unknown> {
  try {
    await readAll(await openSafetensorsBytes(bytes));
  } catch (error) {
    return error;
  }
}

const FRAGMENTS = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  "9",
  "-",
  "e",
  "\\",
  "\0",
  "ÿ",
  '"dtype":',
  "99999999999999999999",
  "null",
];

/** One to three changes, most of them in the header. */
function mutate(original: Uint8Array, { seed, headerEnd }: { seed: number; headerEnd: number }): Uint8Array {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let bytes = Buffer.from(original);
  for (let change = random(3); change >= 0; change--) {
    const place = random(4) === 0 ? random(bytes.length) : random(Math.min(headerEnd, bytes.length));
    const kind = random(5);
    if (kind === 0) bytes[place] = random(256);
    else if (kind === 1) bytes = bytes.subarray(0, place) as typeof bytes;
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + random(20))]);
    else {
      const piece = Buffer.from(FRAGMENTS[random(FRAGMENTS.length)] as string);
      if (kind === 3) piece.copy(bytes, place);
      else bytes = Buffer.concat([bytes.subarray(0, place), piece, bytes.subarray(place)]);
    }
    if (bytes.length === 0) break;
  }
  return new Uint8Array(bytes);
}

test("nothing is left beside a written file, and a file of no tensors is its header", async () => {
  await writeSafetensors(at("model.safetensors"), []);
  expect(readdirSync(at()).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  expect(statSync(at("model.safetensors")).size).toBe(16);
});
