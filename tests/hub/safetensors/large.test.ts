// A file of 5 GB, made of holes: one small tensor must cost its own bytes, and streaming must hold a few megabytes.

import { expect, test } from "bun:test";
import { closeSync, existsSync, openSync, readFileSync, statSync, truncateSync, writeSync } from "node:fs";
import { openSafetensors } from "../../../hub/safetensors/index.ts";
import { temporaryFolder } from "../temporary.ts";
import { entry, fileBytes } from "./bytes.ts";

const at = temporaryFolder();
const GIANT = 5e9;
const VALUES = Float32Array.of(1, 2, 3);

/** @returns whether the file system keeps holes without blocks */
function makeSparse(path: string): boolean {
  const head = fileBytes(
    `{"giant":${entry("U8", [5, 1e9], [0, GIANT])},"small":${entry("F32", [3], [GIANT, GIANT + 12])}}`,
  );
  const file = openSync(path, "w");
  writeSync(file, head);
  truncateSync(path, head.length + GIANT + 12);
  writeSync(file, new Uint8Array(VALUES.buffer), 0, 12, head.length + GIANT);
  closeSync(file);
  return statSync(path).blocks * 512 < 1e8;
}

/** Bytes that this process has asked the system to read so far, where the system counts them. */
function bytesRead(): number {
  return existsSync("/proc/self/io") ? Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]) : 0;
}

const path = at("giant.safetensors");
const sparse = makeSparse(path);

test.skipIf(!sparse)("one small tensor of a 5 GB file costs its own bytes", async () => {
  const before = bytesRead();
  const file = await openSafetensors(path);
  expect(file.tensors.get("giant")?.byteLength).toBe(GIANT);
  expect((await file.read("small")).data).toEqual(VALUES);
  await file.close();
  expect(bytesRead() - before).toBeLessThan(100_000);
});

test.skipIf(!sparse)("streaming a 5 GB tensor holds a few megabytes at a time, and can stop", async () => {
  const file = await openSafetensors(path);
  let largest = 0;
  let bytes = 0;
  for await (const piece of file.chunks("giant")) {
    largest = Math.max(largest, piece.byteLength);
    bytes += piece.byteLength;
    if (bytes > 1e8) break;
  }
  await file.close();
  expect(largest).toBeLessThanOrEqual(2 ** 24);
});

test.skipIf(!sparse)("a file cut short after it was opened is an error, not zeros", async () => {
  const file = await openSafetensors(path);
  truncateSync(path, 1000);
  await expect(file.read("small")).rejects.toThrow(/giant\.safetensors: ends at byte \d+; it had 50000\d+ bytes/);
  await file.close();
});
