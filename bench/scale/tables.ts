// The tables of docs/scale.md, as Markdown.

import { markdownTable } from "../engine/report.ts";
import { CASES, type Case, gpus, gpusOverGloo, H100, MIXED, WORKBENCH } from "./assumptions.ts";
import { type Machine, memoryOf, type Step, type StepTime, stepTime } from "./model.ts";
import { parametersOf } from "./transformers.ts";

const GPUS = [8, 64, 256, 1024, 4096];
/** GPUs over which moments are divided. */
const SHARES = [1, 8, 64, 4096];
/** Bytes of the larger buckets that are compared. */
const LARGE_BUCKET = 2 ** 30;

/** All tables, each under its heading. */
export const tables = (): string[] => [
  ...section("Each GPU brings its own tokens", CASES.flatMap(growing), [
    ...["model", "GPUs", "compute, ms", "exchange not hidden, ms", "optimizer, ms", "step, ms", "efficiency", "binds"],
  ]),
  ...section("The same step, divided", CASES.flatMap(divided), [
    ...["model", "GPUs", "tokens a GPU", "step, ms", "efficiency", "binds"],
  ]),
  ...section("GPUs that compute for at least half of a divided step", CASES.map(useful), [
    ...["model", "tokens of a step", "GPUs at most"],
  ]),
  ...section("How sums are sent", CASES.flatMap(sending), [
    ...["model", "GPUs", "ring", "ring, buckets of 1 GiB", "tree", "ZeRO-1, tree", "ring through Gloo"],
  ]),
  ...section("Memory of a GPU", CASES.flatMap(memory), [
    ...["model", "numbers", "activations", ...SHARES.map((ranks) => (ranks === 1 ? "whole" : `ZeRO-1, ${ranks} GPUs`))],
    ...["ZeRO-1 fits from", "tensor parallelism with ZeRO-1 fits from", "sharded parameters fit from"],
  ]),
];

const section = (heading: string, rows: string[][], columns: string[]): string[] => [
  ...[`### ${heading}`, ""],
  ...markdownTable(columns, rows),
  "",
];

const milliseconds = (seconds: number): string => {
  const value = 1000 * seconds;
  return value >= 100 ? value.toFixed(0) : value >= 0.05 ? value.toFixed(1) : "0";
};
const gigabytes = (bytes: number): string => {
  const value = bytes / 1e9;
  return value >= 10 ? value.toFixed(0) : value.toFixed(1);
};
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** A step whose sums go along a tree from 64 GPUs on, as NCCL chooses by itself for messages of this size. */
const stepOf = (ranks: number, tokens: number): Step => ({
  ranks,
  tokens,
  hops: ranks > H100.perMachine ? "tree" : "ring",
});

/** The time of a step, and the share of it that one GPU alone would take for the same tokens. */
function timed({ model, share }: Case, step: Step): StepTime & { efficiency: number; binds: string } {
  const machine = gpus(step.ranks, share);
  const time = stepTime(model, step, machine);
  const alone = stepTime(model, { ...step, ranks: 1 }, machine).total;
  return { ...time, efficiency: alone / time.total, binds: bound({ model, share }, step, machine) };
}

/** What takes most of a step, and what comes next, unless it is less than a twentieth. */
function bound({ model }: Pick<Case, "model" | "share">, step: Step, machine: Machine): string {
  const { compute, exposed, slowed, optimizer, total } = stepTime(model, step, machine);
  const instant = stepTime(model, step, { ...machine, latency: 0 });
  const bandwidth = instant.exposed + instant.slowed;
  const parts = { compute, memory: optimizer, bandwidth, latency: exposed + slowed - bandwidth };
  return Object.entries(parts)
    .toSorted(([, a], [, b]) => b - a)
    .filter(([, seconds], i) => i === 0 || (i === 1 && seconds > total / 20))
    .map(([name]) => name)
    .join(", ");
}

const growing = (of: Case): string[][] =>
  GPUS.map((ranks) => {
    const { compute, exposed, slowed, optimizer, total, efficiency, binds } = timed(of, stepOf(ranks, of.tokens));
    const times = [compute + slowed, exposed, optimizer, total].map(milliseconds);
    return [of.model.name, `${ranks}`, ...times, percent(efficiency), binds];
  });

const divided = (of: Case): string[][] =>
  GPUS.map((ranks) => {
    const tokens = of.step / ranks;
    const { name, context } = of.model;
    if (tokens < context) return [name, `${ranks}`, `less than a window of ${context}`, "", "", ""];
    const { total, efficiency, binds } = timed(of, stepOf(ranks, tokens));
    return [name, `${ranks}`, `${tokens}`, milliseconds(total), percent(efficiency), binds];
  });

/** The largest power of two of GPUs that compute for half of a divided step. */
function useful(of: Case): string[] {
  const windows = of.step / of.model.context;
  let most = 1;
  for (let ranks = 2; ranks <= windows; ranks *= 2) {
    const { compute, total } = timed(of, stepOf(ranks, of.step / ranks));
    if (compute >= total / 2) most = ranks;
  }
  return [of.model.name, `${of.step}`, most === windows ? `${most}, with one window each` : `${most}`];
}

const sending = (of: Case): string[][] =>
  [64, 4096].map((ranks) => {
    const machine = gpus(ranks, of.share);
    const step = { ranks, tokens: of.tokens };
    const ways: [Step, Machine][] = [
      [step, machine],
      [{ ...step, bucket: LARGE_BUCKET }, machine],
      [{ ...step, hops: "tree" }, machine],
      [{ ...step, hops: "tree", shard: true }, machine],
      [step, gpusOverGloo(ranks, of.share)],
    ];
    return [
      of.model.name,
      `${ranks}`,
      ...ways.map(([how, what]) => `${milliseconds(stepTime(of.model, how, what).total)} ms`),
    ];
  });

const memory = ({ model }: Case): string[][] =>
  Object.entries({ workbench: WORKBENCH, mixed: MIXED }).map(([name, precision]) => {
    const at = (ranks: number) => memoryOf(model, { ranks, tokens: model.context, shard: true }, precision);
    return [
      ...[model.name, name],
      ...[at(1).activations, ...SHARES.map((ranks) => at(ranks).total)].map((bytes) => `${gigabytes(bytes)} GB`),
      fewest((ranks) => at(ranks).total),
      fewest((cut) => at(GPUS.at(-1) as number).total / cut),
      fewest((ranks) => at(1).state / ranks + at(1).activations),
    ];
  });

/** The smallest power of two for which as many bytes fit into a GPU. */
function fewest(bytes: (count: number) => number): string {
  for (let count = 1; count <= (GPUS.at(-1) as number); count *= 2) {
    if (bytes(count) <= H100.capacity) return `${count}`;
  }
  return "none";
}

/** Parameters of each model, in one line. */
export const sizesOf = (): string =>
  CASES.map(({ model }) => `${model.name}: ${parametersOf(model).toLocaleString("en")} parameters`).join("; ");
