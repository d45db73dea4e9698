// The confusion matrix as a chart, and the most frequent confusions as a list.

import { shortName } from "../layer-names.ts";
import type { Chart } from "./chart.ts";
import { textList, VIEW } from "./chart.ts";

/** Maximum number of classes for which a confusion matrix is drawn; with more it would not be legible. */
export const MOST_CLASSES = 30;

/**
 * Draws a confusion matrix, colored by the share of each class.
 * @param classes names of the classes, one per row
 * @param confusion number of images by true class (row) and predicted class (column)
 */
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
    x: { field: "taken", type: "nominal", title: "predicted class", axis: { ...axis, labelAngle: -45 } },
    y: { field: "actual", type: "nominal", title: "true class", axis },
  } as const;
  const side = Math.min(30 * names.length, 620);
  return {
    title: "Confusion matrix",
    description: `${right} of ${all} images are classified correctly. Rows are true classes, columns predicted classes.`,
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

/** A confusion of two classes. */
export interface Mistake {
  /** true class */
  actual: string;
  /** predicted class */
  taken: string;
  /** number of images */
  count: number;
  /** share of the images of the true class */
  share: number;
}

/** The most frequent confusions of two classes, in descending order. */
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
