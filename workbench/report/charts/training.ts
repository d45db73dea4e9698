// The curves of a training run: loss, learning rate, gradient norm, speed, and how sharp the masks are. Lines of
// metrics.jsonl in, charts out.

import type { StepMetrics } from "../../train/metrics.ts";
import type { Chart } from "../chart.ts";
import { SERIES } from "../theme.ts";
import { MOST_POINTS, type Point, sampled, smoothed, thinned } from "../thin.ts";
import { numberAxis, stepAxis, VIEW } from "./encodings.ts";

/** The span of the running mean, as a share of the steps. */
const SMOOTHING = 0.02;

/** @param steps of a run, at least one */
export function lossChart(steps: readonly StepMetrics[]): Chart {
  const raw = steps.map(({ step: x, loss: y }) => ({ x, y }));
  const span = Math.max(1, Math.round(SMOOTHING * raw.length));
  const mean = sampled(smoothed(raw, span), MOST_POINTS / 2);
  const name = `running mean over ${span} ${span === 1 ? "step" : "steps"}`;
  return {
    title: "Loss",
    description: `Training loss, mean negative log-likelihood in nats, by optimizer step: ${ends(raw)}.`,
    spec: {
      ...VIEW,
      layer: [
        {
          data: { values: thinned(raw) },
          mark: { type: "line", strokeWidth: 1, opacity: 0.35 },
          encoding: { x: stepAxis(), y: numberAxis("loss, nats", { zero: false }), color: { datum: "each step" } },
        },
        {
          data: { values: mean },
          mark: { type: "line", strokeWidth: 2.5 },
          encoding: { x: stepAxis(), y: numberAxis("loss, nats", { zero: false }), color: { datum: name } },
        },
      ],
      encoding: {
        color: {
          type: "nominal",
          scale: { domain: ["each step", name], range: [SERIES[5] as string, SERIES[0] as string] },
        },
      },
    },
  };
}

/** The curves that are lines alone; those of which no step says anything are left out. */
export function stepCharts(steps: readonly StepMetrics[], { unit }: { unit: string }): Chart[] {
  const curves = [
    { title: "Learning rate", y: ({ learningRate }: StepMetrics) => learningRate, axis: "learning rate" },
    { title: "σ", y: ({ sigma }: StepMetrics) => sigma, axis: "σ of the masks" },
    { title: "Gradient norm", y: ({ gradientNorm }: StepMetrics) => gradientNorm, axis: "norm, before clipping" },
    { title: "Speed", y: ({ rate }: StepMetrics) => rate, axis: `${unit} a second` },
  ];
  return curves.flatMap(({ title, y, axis }) => {
    const points = pointsOf(steps, y);
    return points.length === 0 ? [] : [lineChart(title, { points, axis })];
  });
}

/** The values that are there, by step. */
export function pointsOf(steps: readonly StepMetrics[], value: (metrics: StepMetrics) => number | undefined): Point[] {
  return steps.flatMap((metrics) => {
    const y = value(metrics);
    return y === undefined || !Number.isFinite(y) ? [] : [{ x: metrics.step, y }];
  });
}

function lineChart(title: string, { points, axis }: { points: readonly Point[]; axis: string }): Chart {
  return {
    title,
    description: `${title}: ${axis} by optimizer step: ${ends(points)}.`,
    spec: {
      ...VIEW,
      data: { values: thinned(points) },
      mark: { type: "line", strokeWidth: points.length > MOST_POINTS ? 1 : 1.75, color: SERIES[0] as string },
      encoding: { x: stepAxis(), y: numberAxis(axis, { zero: true }) },
    },
  };
}

/** In words what a curve comes to. */
export function ends(points: readonly Point[]): string {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return "no values";
  const shown = (value: number) => String(Number(value.toPrecision(4)));
  return `${shown(first.y)} at step ${first.x}, ${shown(last.y)} at step ${last.x}`;
}
