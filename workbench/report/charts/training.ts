// The curves of a training run by optimizer step: loss, learning rate, σ of the masks, gradient norm and speed.

import type { StepMetrics } from "../../train/metrics.ts";
import { SERIES, TONES } from "../pictures/colors.ts";
import type { Chart } from "./chart.ts";
import { numberAxis, stepAxis, VIEW } from "./chart.ts";
import { MOST_POINTS, type Point, sampled, smoothed, thinned } from "./curves.ts";

/** Curves with fewer points are drawn without a running mean. */
const FEW = 30;
/** Span of the running mean, as a share of the steps. */
const SMOOTHING = 0.02;

/** Draws the training loss. @param steps at least one */
export function lossChart(steps: readonly StepMetrics[]): Chart {
  return noisyChart("Loss", { points: pointsOf(steps, ({ loss }) => loss), axis: "training loss, nats" });
}

/**
 * Draws the curves other than the loss; σ is left out if no step has it.
 * @param options.unit unit of the speed: `tokens` or `images`
 */
export function stepCharts(steps: readonly StepMetrics[], { unit }: { unit: string }): Chart[] {
  const rates = { points: pointsOf(steps, ({ learningRate }) => learningRate), axis: "learning rate" };
  const sigmas = { points: pointsOf(steps, ({ sigma }) => sigma), axis: "σ of the masks" };
  const norms = { points: pointsOf(steps, ({ gradientNorm }) => gradientNorm), axis: "norm before clipping" };
  const speeds = { points: pointsOf(steps, ({ rate }) => rate), axis: `${unit} a second` };
  return [
    lineChart("Learning rate", rates),
    ...(sigmas.points.length > 0 ? [lineChart("σ", sigmas)] : []),
    noisyChart("Gradient norm", norms),
    noisyChart("Speed", speeds),
  ];
}

/** The finite values of a field by step; steps without the field are left out. */
export function pointsOf(steps: readonly StepMetrics[], value: (metrics: StepMetrics) => number | undefined): Point[] {
  return steps.flatMap((metrics) => {
    const y = value(metrics);
    return y === undefined || !Number.isFinite(y) ? [] : [{ x: metrics.step, y }];
  });
}

interface Curve {
  /** by optimizer step */
  points: readonly Point[];
  /** title of the y axis, with unit */
  axis: string;
}

/** Draws all points in a faint color, and the running mean over them. */
function noisyChart(title: string, { points, axis }: Curve): Chart {
  if (points.length < FEW) return lineChart(title, { points, axis }, { zero: false });
  const span = Math.max(2, Math.round(SMOOTHING * points.length));
  const name = `mean of about ${2 * span} steps`;
  const [x, y] = [stepAxis(), numberAxis(axis)];
  return {
    title,
    description: `${title}: ${axis} by optimizer step: ${ends(points)}.`,
    spec: {
      ...VIEW,
      layer: [
        {
          data: { values: thinned(points) },
          mark: { type: "line", strokeWidth: 1, point: points.length === 1 },
          encoding: { x, y, color: { datum: "each step" } },
        },
        {
          data: { values: sampled(smoothed(points, span), MOST_POINTS / 2) },
          mark: { type: "line", strokeWidth: 2.25 },
          encoding: { x, y, color: { datum: name } },
        },
      ],
      encoding: {
        color: {
          type: "nominal",
          scale: { domain: ["each step", name], range: [TONES.faint.light, SERIES[0] as string] },
        },
      },
    },
  };
}

function lineChart(title: string, { points, axis }: Curve, { zero = true }: { zero?: boolean } = {}): Chart {
  return {
    title,
    description: `${title}: ${axis} by optimizer step: ${ends(points)}.`,
    spec: {
      ...VIEW,
      data: { values: thinned(points) },
      mark: { type: "line", color: SERIES[0] as string, point: points.length === 1 },
      encoding: { x: stepAxis(), y: numberAxis(axis, { zero }) },
    },
  };
}

/** Describes a curve by its first and its last value. */
export function ends(points: readonly Point[]): string {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return "no values";
  const shown = (value: number) => String(Number(value.toPrecision(4)));
  return `${shown(first.y)} at step ${first.x}, ${shown(last.y)} at step ${last.x}`;
}
