// The table of a run as it fills: rows are kept in comparison.json from the moment that they are known, so that a run
// that goes on does not measure twice.

import { type ComparisonRow, readRun, writeComparison } from "../report/index.ts";

export class RunTable {
  readonly folder: string;
  rows: readonly ComparisonRow[];

  private constructor(folder: string, rows: readonly ComparisonRow[]) {
    this.folder = folder;
    this.rows = rows;
  }

  static async open(folder: string): Promise<RunTable> {
    const { comparison = [] } = await readRun(folder);
    return new RunTable(folder, comparison);
  }

  find(name: string, stage: ComparisonRow["stage"]): ComparisonRow | undefined {
    return this.rows.find((row) => row.name === name && row.stage === stage);
  }

  /** Over a row of the same name and stage. */
  async put(...added: ComparisonRow[]): Promise<void> {
    const isReplaced = (row: ComparisonRow) =>
      added.some(({ name, stage }) => name === row.name && stage === row.stage);
    this.rows = [...this.rows.filter((row) => !isReplaced(row)), ...added];
    await writeComparison(this.folder, this.rows);
  }
}
