// Data sets for streams whose windows show which rows they are: a byte-level tokenizer, and rows as long as a window.

import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openFile } from "../../../hub/files/byte-source.ts";
import type { StreamFile } from "../../../workbench/data/index.ts";
import { writeTinyTokenizer } from "../hub-folders.ts";
import { parquetFile } from "../write-parquet.ts";

/** bytes of a row, and inputs of a window */
export const CONTEXT = 8;

/** Text of row number `i`, which is unlike all others. In letters, as the tokenizer has merges of digits. */
export const rowText = (i: number): string =>
  `<${String(i)
    .padStart(CONTEXT - 2, "0")
    .replace(/\d/g, (digit) => "ABCDEFGHIJ".charAt(Number(digit)))}>`;

/** Writes files of numbered rows. @param sizes rows of each row group of each file. @returns the number of rows */
export function writeRows(folder: string, sizes: readonly (readonly number[])[], name = "train"): number {
  let row = 0;
  for (const [i, groups] of sizes.entries()) {
    const values = groups.map((count) => ({ text: Array.from({ length: count }, () => rowText(row++)) }));
    const path = join(
      folder,
      `data/${name}-${String(i).padStart(5, "0")}-of-${String(sizes.length).padStart(5, "0")}.parquet`,
    );
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, parquetFile(values, "gzip"));
  }
  return row;
}

/** Files of a stream on the disk, which count how many of them are open. */
export function filesAt(paths: readonly string[], counted: { open: number; bytes: number }): StreamFile[] {
  return paths.map((path) => ({
    name: path,
    size: statSync(path).size,
    open: async () => {
      const source = await openFile(path, (problem) => new Error(problem));
      counted.open++;
      return {
        size: source.size,
        read: (start, length, buffer) => {
          counted.bytes += length;
          return source.read(start, length, buffer);
        },
        close: async () => {
          counted.open--;
          await source.close();
        },
      };
    },
  }));
}

/** A tokenizer with one id for each byte. */
export const byteTokenizer = (folder: string): string => writeTinyTokenizer(folder);
