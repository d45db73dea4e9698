// What the rows of a stream become. A lane knows files, row groups and their order; a format knows columns and items.

import type { ParquetFile } from "../dataset/parquet-file.ts";

/** How a lane reads row groups, and makes items of their rows. */
export interface RowFormat<Item, Rows> {
  /** what rows hold, for messages, such as `text` */
  readonly content: string;
  /**
   * Reads the needed columns of a row group.
   * @returns undefined if it has no rows
   * @throws DataError if the file is damaged or lacks a column
   */
  read(file: ParquetFile, group: number): Promise<Rows | undefined>;
  /** Begins a list of items. @param carry what the list before it has left over */
  collect(carry: readonly number[]): Collector<Item, Rows>;
}

/** A list of items that rows are added to, in their order. */
export interface Collector<Item, Rows> {
  /**
   * Adds rows, as many as take some milliseconds, at least one.
   * @param first the row to begin with
   * @returns the row to go on with
   * @throws DataError if a row is not what its column should hold
   */
  add(rows: Rows, first: number): Promise<number>;
  /** number of whole items */
  items(): number;
  /** whether a row has added anything */
  hasAdded(): boolean;
  /** the whole items in the order of rows, and what is left over, which begins the next list */
  end(): { items: Item[]; carry: number[] };
}
