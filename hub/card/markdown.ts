// Escapes text for Markdown. Names and values come from files and command lines and must not become markup. Line ends
// become spaces.

/** Escapes running text. */
export function plain(text: string): string {
  return oneLine(text).replace(/[\\`*_{}[\]<>#|~$&]/g, (c) => (c === "&" ? "&amp;" : c === "<" ? "&lt;" : `\\${c}`));
}

/** Formats inline code, with a fence that is longer than any run of backticks in the text. */
export function code(text: string): string {
  const line = oneLine(text);
  const fence = "`".repeat(longestRun(line) + 1);
  const padding = /^`|`$|^ .* $/.test(line) ? " " : "";
  return line === "" ? "" : `${fence}${padding}${line}${padding}${fence}`;
}

/** Formats a code block. The text is not changed. */
export function codeBlock(language: string, text: string): string {
  const fence = "`".repeat(Math.max(3, longestRun(text) + 1));
  return `${fence}${language}\n${visible(text, true)}\n${fence}`;
}

/** A column of a Markdown table. */
export interface TableColumn<Row> {
  heading: string;
  align: "left" | "right";
  /** content of the cell, in Markdown */
  cell: (row: Row) => string;
}

/**
 * Formats rows as a table.
 * @returns Markdown
 */
export function markdownTable<Row>(rows: readonly Row[], columns: readonly TableColumn<Row>[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(inCell).join(" | ")} |`;
  return [
    line(columns.map(({ heading }) => heading)),
    line(columns.map(({ align }) => (align === "right" ? "--:" : ":--"))),
    ...rows.map((row) => line(columns.map(({ cell }) => cell(row)))),
  ].join("\n");
}

/** Escapes vertical bars, which would end a cell even inside code. */
const inCell = (markdown: string): string => markdown.replace(/(?<!\\)((?:\\\\)*)\|/g, "$1\\|");

const longestRun = (text: string): number => Math.max(0, ...(text.match(/`+/g) ?? []).map(({ length }) => length));

function oneLine(text: string): string {
  return visible(text, false).replace(/\s+/g, " ").trim();
}

function visible(text: string, keepsLines: boolean): string {
  const shown = text.toWellFormed().replace(/[^\P{Cc}\n\t]|\p{Cf}/gu, " ");
  return keepsLines ? shown : shown.replace(/[\n\t]/g, " ");
}
