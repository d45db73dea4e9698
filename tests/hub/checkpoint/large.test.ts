// Checkpoints of 5 GB, made of holes, zip and legacy: opening one and reading a small tensor costs little, and a large
// one streams a few megabytes at a time.

import { expect, test } from "bun:test";
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { temporaryFolder } from "../temporary.ts";
import { bytesOf, legacy, pickle, push, tensor, zip64Records, zipEnd } from "./build.ts";

const at = temporaryFolder();
const GIANT = 5_000_000_000;
const SMALL = Float32Array.of(1, 2, 3);
const VALUE = push.dict({
  giant: tensor({ key: "0", storage: "ByteStorage", length: GIANT, shape: [5, 1e9], strides: [1e9, 1] }),
  small: tensor({ key: "1", length: 3, shape: [3], strides: [1] }),
});

interface Piece {
  at: number;
  bytes: Uint8Array;
}

/** @returns whether the file system keeps holes without blocks */
function writePieces(path: string, pieces: readonly Piece[]): boolean {
  const file = openSync(path, "w");
  ftruncateSync(file, Math.max(...pieces.map(({ at, bytes }) => at + bytes.length)));
  for (const { at, bytes } of pieces) writeSync(file, bytes, 0, bytes.length, at);
  closeSync(file);
  return statSync(path).blocks * 512 < 1e8;
}

function zipPieces(): Piece[] {
  const pieces: Piece[] = [];
  const centrals: Uint8Array[] = [];
  let offset = 0;
  const add = (name: string, { content, size = content.length }: { content: Uint8Array; size?: number }) => {
    const crc = size === content.length ? crc32(content) : 0;
    const { local, central } = zip64Records(name, { size, crc, offset });
    pieces.push({ at: offset, bytes: bytesOf(local, content) });
    centrals.push(central);
    offset += local.length + size;
  };
  add("archive/data.pkl", { content: pickle(VALUE) });
  add("archive/data/0", { content: new Uint8Array(0), size: GIANT });
  add("archive/data/1", { content: new Uint8Array(SMALL.buffer) });
  const directory = bytesOf(...centrals);
  const end = zipEnd({ count: centrals.length, size: directory.length, start: offset, zip64: true });
  pieces.push({ at: offset, bytes: bytesOf(directory, end) });
  return pieces;
}

function legacyPieces(): Piece[] {
  const head = legacy(VALUE, {
    0: { length: GIANT, bytes: new Uint8Array(0) },
    1: { length: 3, bytes: new Uint8Array(0) },
  });
  const giantStart = head.length - 8; // where the second storage's length stands while the first has no bytes
  return [
    { at: 0, bytes: head.subarray(0, giantStart) },
    { at: giantStart + GIANT, bytes: bytesOf(head.subarray(giantStart), new Uint8Array(SMALL.buffer)) },
  ];
}

/** Bytes that this process has asked the system to read so far, where the system counts them. */
function bytesRead(): number {
  return existsSync("/proc/self/io") ? Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]) : 0;
}

const forms = [
  { form: "zip", path: at("zip.ckpt"), pieces: zipPieces() },
  { form: "legacy", path: at("legacy.ckpt"), pieces: legacyPieces() },
].map((form) => ({ ...form, sparse: writePieces(form.path, form.pieces) }));

for (const { form, path, sparse } of forms) {
  test.skipIf(!sparse)(`a small tensor of a 5 GB ${form} checkpoint costs little more than itself`, async () => {
    const before = bytesRead();
    const checkpoint = await openCheckpoint(path);
    expect(checkpoint.tensors.get("giant")?.byteLength).toBe(GIANT);
    expect((await checkpoint.read("small")).data).toEqual(SMALL);
    await checkpoint.close();
    expect(bytesRead() - before).toBeLessThan(1_000_000);
  });

  test.skipIf(!sparse)(`a 5 GB tensor of a ${form} checkpoint streams a few megabytes at a time`, async () => {
    const checkpoint = await openCheckpoint(path);
    let largest = 0;
    let bytes = 0;
    for await (const piece of checkpoint.chunks("giant")) {
      largest = Math.max(largest, piece.byteLength);
      bytes += piece.byteLength;
      if (bytes > 1e8) break;
    }
    await checkpoint.close();
    expect(bytes).toBeGreaterThan(1e8);
    expect(largest).toBeLessThanOrEqual(2 ** 24);
  });
}
