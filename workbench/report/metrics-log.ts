// Reads the lines of metrics.jsonl, also those that a killed run left behind: a last line that is cut off is passed over,
// and steps that were done again after an interruption count as they were done last. Text in, metrics out: no files.

import { z } from "zod";
import type { EvaluationMetrics, Metrics, StepMetrics, StructureMetrics } from "../train/metrics.ts";

const at = { step: z.number(), epoch: z.number(), seconds: z.number() };

const schema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("step"),
    ...at,
    loss: z.number(),
    learningRate: z.number(),
    gradientNorm: z.number(),
    rate: z.number(),
    // JSON has no Infinity: it arrives as null, and the sharpest mask is no line in a plot.
    sigma: z.number().nullish().transform(orUndefined),
    meanWidth: z.number().nullish().transform(orUndefined),
    relativeCost: z.number().nullish().transform(orUndefined),
  }),
  z.object({
    kind: z.literal("evaluation"),
    ...at,
    split: z.string(),
    values: z.record(z.string(), z.number()),
  }),
  z.object({
    kind: z.literal("structure"),
    ...at,
    layers: z.record(
      z.string(),
      z.object({ live: z.number(), cost: z.number(), meanWidthIn: z.number(), meanWidthOut: z.number() }),
    ),
    relativeFlops: z.object({ reference: z.number(), actual: z.number() }),
  }),
]);

export interface MetricsLog {
  metrics: Metrics[];
  /** whole lines that are not metrics */
  refused: number;
}

export function parseMetrics(text: string): MetricsLog {
  const latest = new Map<string, Metrics>();
  let refused = 0;
  const lines = text.split("\n");
  const cutOff = lines.pop(); // what follows the last line end: nothing, or a line that was being written
  for (const line of lines) {
    if (line.trim() === "") continue;
    const found = parseLine(line);
    if (found) latest.set(keyOf(found), found);
    else refused++;
  }
  const last = parseLine(cutOff ?? "");
  if (last) latest.set(keyOf(last), last);
  return { metrics: [...latest.values()].sort((a, b) => a.step - b.step), refused };
}

export const stepsOf = (metrics: readonly Metrics[]): StepMetrics[] =>
  metrics.filter((line): line is StepMetrics => line.kind === "step");

export const evaluationsOf = (metrics: readonly Metrics[]): EvaluationMetrics[] =>
  metrics.filter((line): line is EvaluationMetrics => line.kind === "evaluation");

export const structuresOf = (metrics: readonly Metrics[]): StructureMetrics[] =>
  metrics.filter((line): line is StructureMetrics => line.kind === "structure");

function parseLine(line: string): Metrics | undefined {
  try {
    const { data } = schema.safeParse(JSON.parse(line));
    return data;
  } catch {
    return undefined;
  }
}

const keyOf = (line: Metrics): string =>
  line.kind === "evaluation" ? `${line.kind} ${line.step} ${line.split}` : `${line.kind} ${line.step}`;

function orUndefined(value: number | null | undefined): number | undefined {
  return value ?? undefined;
}
