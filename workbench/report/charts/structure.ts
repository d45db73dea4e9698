// The structure of a model over the steps of training: its cost, and the widths of the blocks in each layer.

import type { StepMetrics, StructureMetrics } from "../../train/metrics.ts";
import { shortNames } from "../layer-names.ts";
import { PALETTE, type Rgb, SERIES, TONES } from "../pictures/colors.ts";
import { CHART, type Chart, extraLegendHeight, legendFor, numberAxis, stepAxis, textList, VIEW } from "./chart.ts";
import { sampled, thinned } from "./curves.ts";
import { ends, pointsOf } from "./training.ts";

const NAME_LENGTH = 22;
const ROW_HEIGHT = 15;
/** Maximum number of rectangles in a heat map. It limits the size of the page. */
const MOST_CELLS = 2400;

interface CostOptions {
  /** target cost of the converted layers, as a share of dense */
  target?: number;
}

/**
 * Draws the cost of the layers, the relative FLOPs of the model and the mean width of the blocks.
 * @returns undefined if no line of the metrics has any of them
 */
export function costChart(
  steps: readonly StepMetrics[],
  structures: readonly StructureMetrics[],
  { target }: CostOptions = {},
): Chart | undefined {
  const model = structures.map(({ step: x, relativeFlops: { reference: y } }) => ({ x, y }));
  const curves = [
    { name: "cost of the layers", points: pointsOf(steps, ({ relativeCost }) => relativeCost), color: SERIES[0] },
    { name: "FLOPs of the model", points: model, color: SERIES[2] },
    { name: "mean width of blocks", points: pointsOf(steps, ({ meanWidth }) => meanWidth), color: SERIES[1] },
  ].filter(({ points }) => points.length > 0);
  if (curves.length === 0) return undefined;
  const goal = target === undefined ? [] : [{ y: target, series: "target of the layers" }];
  const names = [...curves.map(({ name }) => name), ...goal.map(({ series }) => series)];
  const colors = [...curves.map(({ color }) => color as string), SERIES[5] as string];
  const y = numberAxis("share of dense", { zero: true, format: ".0%" });
  return {
    title: "Cost and mean width",
    description: `Shares of the dense model by optimizer step. ${curves.map(({ name, points }) => `${name}: ${ends(points)}`).join(". ")}.`,
    spec: {
      ...VIEW,
      height: VIEW.height + extraLegendHeight(names),
      layer: [
        {
          data: { values: goal },
          mark: { type: "rule", strokeDash: [5, 4] },
          encoding: { y, color: { field: "series", type: "nominal" } },
        },
        {
          data: { values: curves.flatMap(({ name, points }) => thinned(points).map((p) => ({ ...p, series: name }))) },
          mark: { type: "line", point: model.length === 1 },
          encoding: { x: stepAxis(), y, color: { field: "series", type: "nominal" } },
        },
      ],
      encoding: {
        color: { type: "nominal", scale: { domain: names, range: colors.slice(0, names.length) }, ...legendFor(names) },
      },
    },
  };
}

/**
 * Draws the mean width of each layer's live blocks over time as a heat map; the mean is over both sides.
 * @param structures at least two
 */
export function widthHistoryChart(structures: readonly StructureMetrics[]): Chart {
  const last = structures.at(-1) as StructureMetrics;
  const names = Object.keys(last.layers);
  const shown = sampled(structures, Math.max(2, Math.min(40, Math.floor(MOST_CELLS / names.length))));
  const cells = shown.flatMap(({ step, layers }, i) =>
    names.flatMap((layer, row) => {
      const found = layers[layer];
      if (!found) return [];
      // A cell extends half-way to its neighbors; the axis ends at the last step.
      const [from, to] = [shown[i - 1], shown[i + 1]].map((beside) => (step + (beside?.step ?? step)) / 2);
      return [{ layer, row, from, to, width: (found.meanWidthIn + found.meanWidthOut) / 2 }];
    }),
  );
  return {
    title: "Mean width by layer, over time",
    description: "Mean width of each layer's live blocks as a share of the side, by optimizer step; brighter is wider.",
    spec: {
      ...VIEW,
      height: heightFor(names.length) + 46,
      data: { values: cells },
      mark: { type: "rect" },
      encoding: {
        x: { ...stepAxis("from"), scale: { nice: false, zero: false } },
        x2: { field: "to" },
        y: layerAxis(names),
        color: {
          field: "width",
          type: "quantitative",
          title: "width",
          scale: { zero: false, nice: true, range: PALETTE.filter((_, i) => i % 15 === 0).map(hex) },
          legend: {
            type: "gradient",
            orient: "bottom",
            direction: "horizontal",
            gradientLength: 200,
            gradientThickness: 8,
            format: ".0%",
            title: "mean width, share of the side",
            titleFontSize: 12,
            titleFontWeight: 400,
            titleLimit: 300,
          },
        },
      },
      config: { axis: { grid: false } },
    },
  };
}

/** Draws the mean width of each layer's live blocks, input and output side. */
export function finalWidthsChart({ step, layers }: StructureMetrics): Chart {
  const names = Object.keys(layers);
  const values = Object.entries(layers).flatMap(([layer, { meanWidthIn, meanWidthOut }], row) => [
    { layer, row, width: meanWidthIn, side: "input side" },
    { layer, row, width: meanWidthOut, side: "output side" },
  ]);
  return {
    title: `Mean width by layer, step ${step}`,
    description: `Mean width of each layer's live blocks as a share of the side at step ${step}, input and output side.`,
    spec: {
      ...VIEW,
      height: heightFor(names.length) + 24,
      data: { values },
      layer: [
        {
          mark: { type: "rule", strokeWidth: 2, opacity: 0.35, color: TONES.soft.light },
          transform: [
            {
              aggregate: [
                { op: "min", field: "width", as: "low" },
                { op: "max", field: "width", as: "high" },
              ],
              groupby: ["row"],
            },
          ],
          encoding: { y: layerAxis(names), x: { field: "low", type: "quantitative" }, x2: { field: "high" } },
        },
        {
          mark: { type: "point", filled: true, size: 55, opacity: 1 },
          encoding: {
            y: layerAxis(names),
            x: {
              field: "width",
              type: "quantitative",
              title: "mean width, share of the side",
              scale: { zero: true },
              axis: { format: ".0%", grid: true, ticks: false },
            },
            color: { field: "side", type: "nominal", legend: { symbolType: "circle" } },
          },
        },
      ],
    },
  };
}

const heightFor = (layers: number): number => Math.max(CHART.height - 60, 50 + ROW_HEIGHT * layers);

/** An axis that lists the layers from top to bottom, in the order of the model, under shortened names. */
function layerAxis(names: readonly string[]) {
  const labels = shortNames(names, NAME_LENGTH);
  return {
    field: "row",
    type: "nominal",
    title: null,
    axis: {
      grid: false,
      labelFontSize: 10.5,
      labelLimit: 160,
      labelExpr: `${textList(labels)}[datum.value]`,
    },
  } as const;
}

const hex = (color: Rgb): string => `#${color.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
