// Errors of layers relative to those of a reference conversion, by kind of layer: a point for each layer, a line for the mean
// of each kind, and a dashed line where both are equal. For `gblr compare --layers`.

import { threeDigits } from "../../../hub/text/numbers.ts";
import { type Chart, LEGEND_ROW, numberAxis, spansDecades, VIEW } from "./chart.ts";

/** A layer that two conversions have. */
export interface LayerRatio {
  /** kind of the layer, e.g. `q_proj` */
  kind: string;
  /** its error divided by that in the reference */
  ratio: number;
  /** entry of the legend */
  series: string;
}

/** Width of the band of a kind, px. */
const BAND = 76;
/** Width of a character of the title, px. A longer title than the chart would make the axes narrower. */
const TITLE_CHARACTER = 9;

/**
 * Draws the ratios of layers.
 * @param ratios at least one, the kinds in the order of the axis
 */
export function layerErrorChart(title: string, ratios: readonly LayerRatio[]): Chart {
  const kinds = [...new Set(ratios.map(({ kind }) => kind))];
  const series = [...new Set(ratios.map((each) => each.series))];
  const values = ratios.map(({ ratio: y, ...each }) => ({ ...each, y }));
  const means = kinds.flatMap((kind) =>
    series.flatMap((name) => {
      const own = ratios.filter((each) => each.kind === kind && each.series === name);
      return own.length === 0
        ? []
        : [{ kind, series: name, y: own.reduce((sum, { ratio }) => sum + ratio, 0) / own.length }];
    }),
  );
  const isLogarithmic = spansDecades(ratios.map(({ ratio }) => ratio));
  const y = numberAxis("output error, relative", { isLogarithmic });
  const x = {
    field: "kind",
    type: "nominal",
    title: null,
    sort: kinds,
    axis: { labelAngle: 0, labelFlush: false },
  } as const;
  const offset = series.length > 1 ? { xOffset: { field: "series", type: "nominal" as const, sort: series } } : {};
  const shown = means.map((mean) => `${mean.series}, ${mean.kind}: ${threeDigits(mean.y)}`);
  return {
    title,
    description: `Output errors of layers relative to those of the reference, means: ${shown.join("; ")}.`,
    spec: {
      ...VIEW,
      width: Math.max(VIEW.width, BAND * kinds.length + 60, TITLE_CHARACTER * title.length),
      height: 300 + LEGEND_ROW * (series.length - 1),
      layer: [
        { data: { values: [{ y: 1 }] }, mark: { type: "rule", strokeDash: [5, 4] }, encoding: { y } },
        {
          data: { values },
          mark: { type: "point", opacity: 0.45 },
          encoding: { x, y, ...offset, color: colorOf(series) },
        },
        {
          data: { values: means },
          mark: { type: "tick", thickness: 3, bandSize: BAND / (2 * series.length) },
          encoding: { x, y, ...offset, color: colorOf(series) },
        },
      ],
    },
  };
}

const colorOf = (domain: readonly string[]) =>
  ({
    field: "series",
    type: "nominal",
    scale: { domain: [...domain] },
    legend: { columns: 1, labelLimit: 0, symbolType: "circle" },
  }) as const;
