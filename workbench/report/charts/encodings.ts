// What the charts have in common: a view of one size, an axis of optimizer steps, axes of numbers.

import { CHART } from "../chart.ts";

/** The whole picture, axes and legend in it, has the size of a chart. */
export const VIEW = {
  width: CHART.width,
  height: CHART.height,
  autosize: { type: "fit", contains: "padding" },
} as const;

/** `1k` for a thousand. */
const COUNT = "~s";

/** Steps along x. */
export function stepAxis(field = "x") {
  return {
    field,
    type: "quantitative",
    title: "optimizer step",
    scale: { nice: false, zero: false },
    axis: { format: COUNT, tickMinStep: 1 },
  } as const;
}

interface NumberAxis {
  /** beginning of the axis: 0, or where the values begin. Default false */
  zero?: boolean;
  /** equal ratios get equal room. Default false */
  isLogarithmic?: boolean;
  /** of the labels, as d3-format has them */
  format?: string;
  field?: string;
}

/** Numbers along y. */
export function numberAxis(
  title: string,
  { zero = false, isLogarithmic = false, format, field = "y" }: NumberAxis = {},
) {
  return {
    field,
    type: "quantitative",
    title,
    scale: isLogarithmic
      ? { type: "log" as const, nice: false, padding: 6 }
      : { type: "linear" as const, zero, nice: true },
    ...(format !== undefined && { axis: { format } }),
  } as const;
}

/** Values that are far apart are told apart on a logarithmic axis only. */
export function spansDecades(values: readonly number[]): boolean {
  const least = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return least > 0 && most / least > 4;
}

/**
 * Texts as a list in an expression of Vega's, which takes literals such as "valueOf" and "constructor" for what every object
 * has of that name, but not parts of a literal.
 */
export function textList(texts: readonly string[]): string {
  let code = 0xe000; // of no character that has a meaning
  while (texts.some((text) => text.includes(String.fromCharCode(code)))) code++;
  const separator = String.fromCharCode(code);
  return `split(${JSON.stringify(texts.join(separator))}, ${JSON.stringify(separator)})`;
}
