// Which classes are taken for which: a square of counts, colored by the share of a class. Counts in, a chart out.

import { shortName } from "../layer-names.ts";
import type { Chart } from "./chart.ts";
import { textList, VIEW } from "./chart.ts";

/** With more classes a square is no longer legible. */
export const MOST_CLASSES = 30;

/** @param confusion images of class (row) taken for class (column); @param classes their names, as many as rows */
export function confusionChart(classes: readonly string[], confusion: readonly (readonly number[])[]): Chart {
  const names = classes.map((name, i) => (classes.indexOf(name) === i ? name : `${name} (${i})`));
  const cells = confusion.flatMap((row, i) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    return row.map((count, j) => ({ actual: i, taken: j, count, share: all > 0 ? count / all : 0 }));
  });
  const right = confusion.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
  const all = cells.reduce((sum, { count }) => sum + count, 0);
  const labelExpr = `${textList(names.map((name) => shortName(name, 14)))}[datum.value]`;
  const axis = { grid: false, labelFontSize: 11, labelExpr, labelLimit: 110 };
  const position = {
    x: { field: "taken", type: "nominal", title: "taken for", axis: { ...axis, labelAngle: -45 } },
    y: { field: "actual", type: "nominal", title: "class", axis },
  } as const;
  const side = Math.min(30 * names.length, 620);
  return {
    title: "Confusion matrix",
    description: `${right} of ${all} images are taken for their own class. Rows are classes, columns what they are taken for.`,
    spec: {
      ...VIEW,
      width: side + 130,
      height: side + 100,
      data: { values: cells },
      layer: [
        {
          mark: { type: "rect", stroke: "#ffffff", strokeWidth: 0.5 },
          encoding: {
            ...position,
            color: {
              field: "share",
              type: "quantitative",
              scale: { domain: [0, 1], range: ["#f4f3fb", "#cfc9f2", "#8f83d8", "#4a3db1", "#241a6b"] },
              legend: null,
            },
          },
        },
        ...(names.length <= 15
          ? [
              {
                mark: { type: "text" as const, fontSize: 10.5 },
                encoding: {
                  ...position,
                  text: { field: "count", type: "quantitative" as const },
                  color: { condition: { test: "datum.share > 0.45", value: "#fefefe" }, value: "#16161e" },
                },
              },
            ]
          : []),
      ],
    },
  };
}

export interface Mistake {
  actual: string;
  taken: string;
  count: number;
  /** of the images of the class */
  share: number;
}

/** The mistakes made most often, the most frequent first. */
export function commonMistakes(
  classes: readonly string[],
  confusion: readonly (readonly number[])[],
  most = 20,
): Mistake[] {
  const mistakes = confusion.flatMap((row, i) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    return row.flatMap((count, j) =>
      i === j || count === 0
        ? []
        : [{ actual: classes[i] ?? `${i}`, taken: classes[j] ?? `${j}`, count, share: count / all }],
    );
  });
  return mistakes.sort((a, b) => b.count - a.count).slice(0, most);
}
