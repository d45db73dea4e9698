// Text for terminals: colors, tables with aligned columns, and paragraphs of a given width.

export { formatBytes, threeDigits } from "../../../hub/text/numbers.ts";

/** Maximum width of printed lines, in characters. */
export const WIDTH = 100;

type Paint = (text: string) => string;

/** Functions that color text; without colors they return it unchanged. */
export interface Palette {
  bold: Paint;
  dim: Paint;
  good: Paint;
  warn: Paint;
  bad: Paint;
}

const plain: Paint = (text) => text;
const sgr =
  (on: number, off: number): Paint =>
  (text) =>
    text === "" ? "" : `\u001b[${on}m${text}\u001b[${off}m`;

const COLORS: Palette = { bold: sgr(1, 22), dim: sgr(2, 22), good: sgr(32, 39), warn: sgr(33, 39), bad: sgr(31, 39) };
const PLAIN: Palette = { bold: plain, dim: plain, good: plain, warn: plain, bad: plain };

export interface Environment {
  readonly [name: string]: string | undefined;
}

/** The colors for a stream: none in files and pipes, with NO_COLOR (no-color.org), or on a dumb terminal. */
export function paletteFor(stream: { isTTY?: boolean }, environment: Environment): Palette {
  const wanted = stream.isTTY === true && !environment.NO_COLOR && environment.TERM !== "dumb";
  return wanted ? COLORS : PLAIN;
}

/** A cell of a table. */
export interface Cell {
  text: string;
  paint?: Paint;
  align?: "left" | "right";
}

export interface TableOptions {
  /** spaces before each row */
  indent?: number;
  /** spaces between columns */
  gap?: number;
}

/** Lines of a table whose columns are as wide as their widest cell. Widths do not include color codes. */
export function table(rows: readonly (readonly Cell[])[], { indent = 2, gap = 2 }: TableOptions = {}): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(0, ...rows.map((row) => row[column]?.text.length ?? 0)),
  );
  return rows.map((row) => {
    const last = row.findLastIndex((cell) => cell.text !== "");
    const cells = row.slice(0, last + 1).map((cell, column) => {
      const padding = " ".repeat((widths[column] ?? 0) - cell.text.length);
      const text = (cell.paint ?? plain)(cell.text);
      if (cell.align === "right") return padding + text;
      return column === last ? text : text + padding;
    });
    return " ".repeat(indent) + cells.join(" ".repeat(gap));
  });
}

/**
 * Breaks text into lines at spaces. A word longer than a line, such as a path, is kept whole so that it can be copied.
 */
export function wrap(text: string, width = WIDTH): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((word) => word !== "")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}
