// Windows of tokens as the items of a stream: the ids of rows form one list, which is cut into windows.

import type { ParquetFile } from "../dataset/parquet-file.ts";
import { checkColumn, textsOf } from "../dataset/rows.ts";
import { IdList } from "../tokenizer/id-list.ts";
import type { Collector, RowFormat } from "./row-format.ts";

/** Options of `textWindows`. */
export interface TextWindowsOptions {
  /** inputs of a window, tokens */
  context: number;
  /** column with the text */
  column: string;
  /** encodes rows, each by itself, and concatenates their ids */
  encode(texts: readonly string[]): Promise<Int32Array>;
}

/** Values of the column of a row group. */
interface TextRows {
  /** file in messages */
  path: string;
  length: number;
  values: ArrayLike<unknown>;
}

/** UTF-16 units of text that are encoded at a time: some milliseconds of work. Rows are not split. */
const BATCH_UNITS = 2 ** 16;

/** Makes windows of context + 1 ids each. Null rows are skipped. */
export function textWindows({ context, column, encode }: TextWindowsOptions): RowFormat<Int32Array, TextRows> {
  const collect = (carry: readonly number[]): Collector<Int32Array, TextRows> => {
    const ids = new IdList();
    ids.pushAll(carry);
    const items = () => Math.floor(Math.max(0, ids.length - 1) / context);
    return {
      items,
      hasAdded: () => ids.length > carry.length,
      async add({ path, length, values }, first) {
        let row = first;
        for (let units = 0; row < length && units < BATCH_UNITS; row++) units += lengthOf(values[row]);
        const some = Array.from({ length: row - first }, (_, i) => values[first + i]);
        ids.pushAll(await encode(textsOf(some, { path, column })));
        return row;
      },
      end() {
        const [all, windows] = [ids.take(), items()];
        return {
          items: Array.from({ length: windows }, (_, i) => all.slice(i * context, (i + 1) * context + 1)),
          carry: [...all.subarray(windows * context)],
        };
      },
    };
  };
  const read = async (file: ParquetFile, group: number): Promise<TextRows | undefined> => {
    checkColumn(file, column);
    for await (const { values } of file.groups([column], { only: group })) {
      const [texts = []] = values;
      return { path: file.path, length: texts.length, values: texts };
    }
  };
  return { content: "text", read, collect };
}

/** Null rows count too, so that a batch of them ends. */
const lengthOf = (value: unknown): number => (typeof value === "string" ? value.length : 0) + 1;
