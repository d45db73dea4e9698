// Reads the lines of metrics.jsonl, also those that a killed run left behind: a last line that is cut off is passed over,
// and steps that were done again after an interruption count as they were done last. Text in, metrics out: no files.

import type { EvaluationMetrics, Metrics, StepMetrics, StructureMetrics } from "../train/metrics.ts";

/** Fields that are numbers in every line of a kind, and in some. */
const NUMBERS: Record<Metrics["kind"], { always: readonly string[]; sometimes: readonly string[] }> = {
  step: {
    always: ["loss", "learningRate", "gradientNorm", "rate"],
    sometimes: ["sigma", "meanWidth", "relativeCost"],
  },
  evaluation: { always: [], sometimes: [] },
  structure: { always: [], sometimes: [] },
};
const AT = ["step", "epoch", "seconds"];
const LAYER = ["live", "cost", "meanWidthIn", "meanWidthOut"];

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

// Checked by hand and not by a schema: a long run has a hundred thousand lines, and its report is written again and again.
function parseLine(line: string): Metrics | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isObject(json) || !Object.hasOwn(NUMBERS, String(json.kind)) || !hasNumbers(json, AT)) return undefined;
  const { always, sometimes } = NUMBERS[json.kind as Metrics["kind"]];
  if (!hasNumbers(json, always)) return undefined;
  // JSON has no Infinity: a σ that is infinite arrives as null, and the sharpest mask is no point of a curve.
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

const keyOf = (line: Metrics): string =>
  line.kind === "evaluation" ? `${line.kind} ${line.step} ${line.split}` : `${line.kind} ${line.step}`;
