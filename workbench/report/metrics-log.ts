// Parses metrics.jsonl, also of a run that was killed: an incomplete last line is skipped, and if a step was repeated
// after an interruption, its last line is used.

import type { EvaluationMetrics, Metrics, SampleMetrics, StepMetrics, StructureMetrics } from "../train/metrics.ts";

/** Numeric fields that every line of a kind has, and those that it may have. */
const NUMBERS: Record<Metrics["kind"], { always: readonly string[]; sometimes: readonly string[] }> = {
  step: {
    always: ["loss", "learningRate", "gradientNorm", "rate"],
    sometimes: ["sigma", "meanWidth", "relativeCost"],
  },
  evaluation: { always: [], sometimes: [] },
  structure: { always: [], sometimes: [] },
  sample: { always: [], sometimes: [] },
};
const AT = ["step", "epoch", "seconds"];
const LAYER = ["live", "cost", "meanWidthIn", "meanWidthOut"];

interface MetricsLog {
  metrics: Metrics[];
  /** number of complete lines that are not metrics */
  refused: number;
}

/** Parses the text of metrics.jsonl. @returns the metrics in the order of their steps */
export function parseMetrics(text: string): MetricsLog {
  const latest = new Map<string, Metrics>();
  let refused = 0;
  const lines = text.split("\n");
  const cutOff = lines.pop(); // text after the last line end: empty, or a line that was being written
  for (const line of lines) {
    if (line.trim() === "") continue;
    const found = parseMetricsLine(line);
    if (found) latest.set(keyOf(found), found);
    else refused++;
  }
  const last = parseMetricsLine(cutOff ?? "");
  if (last) latest.set(keyOf(last), last);
  return { metrics: [...latest.values()].sort((a, b) => a.step - b.step), refused };
}

/** The metrics of optimizer steps. */
export const stepsOf = (metrics: readonly Metrics[]): StepMetrics[] =>
  metrics.filter((line): line is StepMetrics => line.kind === "step");

/** The metrics of evaluations. */
export const evaluationsOf = (metrics: readonly Metrics[]): EvaluationMetrics[] =>
  metrics.filter((line): line is EvaluationMetrics => line.kind === "evaluation");

/** The metrics of the structure. */
export const structuresOf = (metrics: readonly Metrics[]): StructureMetrics[] =>
  metrics.filter((line): line is StructureMetrics => line.kind === "structure");

/** The texts that the model has written. */
export const samplesOf = (metrics: readonly Metrics[]): SampleMetrics[] =>
  metrics.filter((line): line is SampleMetrics => line.kind === "sample");

/** Parses a line of metrics.jsonl. @returns undefined if it has no metrics */
// Checked by hand because a schema is too slow: a long run has a hundred thousand lines, and its report is written
// often.
export function parseMetricsLine(line: string): Metrics | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isObject(json) || !Object.hasOwn(NUMBERS, String(json.kind)) || !hasNumbers(json, AT)) return undefined;
  const { always, sometimes } = NUMBERS[json.kind as Metrics["kind"]];
  if (!hasNumbers(json, always)) return undefined;
  // JSON has no Infinity, so an infinite σ is null. It is removed because a curve cannot show it.
  for (const name of sometimes) if (json[name] === null) delete json[name];
  if (
    !hasNumbers(
      json,
      sometimes.filter((name) => name in json),
    )
  )
    return undefined;
  if (json.kind === "evaluation" && !(typeof json.split === "string" && isNumbers(json.values))) return undefined;
  if (json.kind === "structure" && !isStructure(json)) return undefined;
  if (json.kind === "sample" && !(typeof json.prompt === "string" && typeof json.text === "string")) return undefined;
  return json as unknown as Metrics;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const hasNumbers = (object: Record<string, unknown>, names: readonly string[]): boolean =>
  names.every((name) => typeof object[name] === "number");

const isNumbers = (value: unknown): boolean => isObject(value) && hasNumbers(value, Object.keys(value));

const isStructure = ({ layers, relativeFlops }: Record<string, unknown>): boolean =>
  isObject(layers) &&
  Object.values(layers).every((layer) => isObject(layer) && hasNumbers(layer, LAYER)) &&
  isObject(relativeFlops) &&
  hasNumbers(relativeFlops, ["reference", "actual"]);

function keyOf(line: Metrics): string {
  const own = line.kind === "evaluation" ? line.split : line.kind === "sample" ? line.prompt : "";
  return `${line.kind} ${line.step} ${own}`;
}
