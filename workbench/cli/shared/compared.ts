// Compared results as text: for a terminal, in Markdown, and as a JSON document.

import type { Compared } from "../../report/compare/compare.ts";
import { type CompareTable, markdownTable } from "../../report/compare/table.ts";
import { type Cell, type Palette, table } from "./terminal.ts";

/** The document of --json. @param files paths of the plot */
export function comparedDocument(
  { metrics, groups, differing, repeatedOver, notes }: Compared,
  files: readonly string[],
): object {
  const rows = groups.map(({ first, from, rows, values, spread }) => ({
    ...{ ...first, from, runs: rows.length, values },
    ...(spread && { spread }),
    each: rows.map(({ seeds, calibration, metrics }) => ({ seeds, calibration, metrics })),
  }));
  return { metrics, rows, differing, repeatedOver, notes, files };
}

/** The table in Markdown, with the lines below it. */
export const comparedMarkdown = (compared: Compared): string =>
  [markdownTable(compared.table), "", ...below(compared, "- ")].join("\n").trimEnd();

/** The table for a terminal, with the lines below it and the paths of files. */
export function comparedText(
  compared: Compared,
  { files, palette }: { files: readonly string[]; palette: Palette },
): string {
  const lines = [
    ...tableLines(compared.table, palette),
    "",
    ...below(compared, "  "),
    ...files.map((file) => `  ${file}`),
  ];
  return lines.join("\n").trimEnd();
}

/** A table for a terminal. A heading takes up to two lines. */
export function tableLines({ headings, rows, texts }: CompareTable, palette: Palette): string[] {
  const align = (i: number) => (i < texts ? "left" : "right");
  const head = [0, 1].map((line) =>
    headings.map((heading, i): Cell => {
      const parts = heading.split("\n");
      const text = (parts.length > 1 ? parts[line] : line === 1 ? heading : "") ?? "";
      return { text, paint: palette.dim, align: align(i) };
    }),
  );
  const body = rows.map((row) => row.map((text, i): Cell => ({ text, align: align(i) })));
  const used = head.filter((line) => line.some(({ text }) => text !== ""));
  return table([...used, ...body]);
}

/** The lines below the table: the seeds and calibration data of repetitions, the settings that differ, and notes. */
function below({ differing, repeatedOver, notes }: Compared, mark: string): string[] {
  const list = (found: Readonly<Record<string, readonly string[]>>) =>
    Object.entries(found).map(([name, values]) => `${name} ${values.join(", ")}`);
  const [others, seeds] = [list(differing), list(repeatedOver)];
  return [
    ...(seeds.length > 0 ? [`mean ± standard deviation over ${seeds.join("; ")}`] : []),
    ...(others.length > 0 ? [`settings that differ: ${others.join("; ")}`] : []),
    ...notes,
  ].map((line) => `${mark}${line}`);
}
