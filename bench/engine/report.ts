// The results of the engine bench as data and as a Markdown page that is also readable in a terminal. Measures nothing.

import type { Machine } from "../../workbench/cli/doctor/collect.ts";
import { threeDigits } from "../../workbench/cli/shared/terminal.ts";
import type { About, Faults } from "./protocol.ts";
import { type CaseResult, medianOf, ratioOf } from "./run.ts";

export interface BenchReport {
  /** ISO 8601, of the start */
  date: string;
  machine: Machine;
  setting: { device: string; precision: string; threads: number; rounds: number };
  contestants: Record<string, About>;
  /** contestants that did not start, and why */
  absent: Record<string, string>;
  /** share of its samples' time that each contestant waited for a core */
  waiting: Record<string, number>;
  cases: CaseResult[];
  /** minor page faults of each of the first training steps */
  faults: Record<string, Faults | { failure: string }>;
}

const OURS = "torch";

interface Column {
  heading: string;
  value: (result: CaseResult) => string;
}

/** The median of each contestant and, for all but our torch engine, the ratio of its time to ours. */
function columns(names: readonly string[]): Column[] {
  return names.flatMap((name): Column[] => {
    const time = { heading: name, value: (result: CaseResult) => timeCell(result, name) };
    // wasm and cpu, which replace torch, are shown relative to torch, and torch relative to the libraries.
    const [over, under] = name === "wasm" || name === "cpu" ? [name, OURS] : [OURS, name];
    if (name === OURS || !names.includes(OURS)) return [time];
    return [time, { heading: `${over}/${under}`, value: (result) => ratioCell(result, over, under) }];
  });
}

function timeCell(result: CaseResult, name: string): string {
  if (name in result.failures) return "failed";
  const seconds = medianOf(result, name);
  return seconds === undefined ? "" : formatSeconds(seconds);
}

function ratioCell(result: CaseResult, over: string, under: string): string {
  const ratio = ratioOf(result, over, under);
  return ratio === undefined ? "" : ratio.toFixed(ratio < 10 ? 2 : 0);
}

export function formatSeconds(seconds: number): string {
  if (seconds >= 1) return `${threeDigits(seconds)} s`;
  return seconds >= 1e-4 ? `${threeDigits(seconds * 1e3)} ms` : `${threeDigits(seconds * 1e6)} µs`;
}

export function markdown(report: BenchReport): string {
  const { machine, setting, contestants } = report;
  const versions = Object.entries(contestants).map(([name, about]) => `- ${name}: ${describe(about)}`);
  const absent = Object.entries(report.absent).map(([name, why]) => `- ${name}: did not run: ${why}`);
  const failures = [
    ...report.cases.flatMap(({ title, failures }) =>
      Object.entries(failures).map(([name, why]) => `- ${name} failed on ${title}: ${why}`),
    ),
    ...Object.entries(report.faults).flatMap(([name, counted]) =>
      "failure" in counted ? [`- ${name} failed on counting page faults: ${counted.failure}`] : [],
    ),
  ];
  return [
    `# Engine bench on ${machine.cpu}, ${machine.cores} cores`,
    "",
    `${report.date.slice(0, 10)}. ${machine.runtime.name} ${machine.runtime.version}, ${machine.system}, ` +
      `${machine.kernel}, ${machine.architecture}. Device ${setting.device}, precision ${setting.precision}, ` +
      `${setting.threads} threads each.`,
    "",
    ...versions,
    ...absent,
    ...busyLines(report),
    "",
    `Medians of up to ${setting.rounds} interleaved samples. A ratio is the median over the rounds of one time over ` +
      "the other's in the same round: `torch/PyTorch` below 1 means that torch is the faster.",
    "",
    ...resultTable(report),
    ...(failures.length > 0 ? ["", ...failures] : []),
    "",
    "## Page faults",
    "",
    "Minor page faults of each step of the MLP training loop, in a fresh process, and what its allocator holds after.",
    "",
    ...faultsTable(report),
  ].join("\n");
}

/** From this share on, other load on the machine affects the times. */
const BUSY = 0.1;

function busyLines({ waiting }: BenchReport): string[] {
  const waited = Object.entries(waiting).filter(([, share]) => share > BUSY);
  if (waited.length === 0) return [];
  const shares = waited.map(([name, share]) => `${name} ${Math.round(share * 100)} %`).join(", ");
  return [
    "",
    `**The machine was busy with other work**, so the times are too long: waiting for a core took ${shares}.`,
  ];
}

function describe({ version, device, threads }: About): string {
  return `${version}, ${device}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}

function resultTable({ contestants, cases }: BenchReport): string[] {
  const shown = columns(Object.keys(contestants)).filter(({ value }) => cases.some((each) => value(each) !== ""));
  const rows = cases.map((result) => [result.title, ...shown.map(({ value }) => value(result))]);
  return markdownTable(["case", ...shown.map(({ heading }) => heading)], rows);
}

/** Steps that are shown separately; the rest is summed up. */
const FIRST_STEPS = 5;

function faultsTable({ faults }: BenchReport): string[] {
  const steps = Array.from({ length: FIRST_STEPS }, (_, index) => `step ${index + 1}`);
  const rows = Object.entries(faults).map(([name, counted]) => {
    if ("failure" in counted) return [name, "failed"];
    const { faults, held } = counted;
    const later = faults.slice(FIRST_STEPS);
    const mean = later.length === 0 ? "" : threeDigits(later.reduce((sum, each) => sum + each, 0) / later.length);
    const megabytes = held === undefined ? "" : `${threeDigits(held / 1e6)} MB`;
    return [name, ...faults.slice(0, FIRST_STEPS).map(String), mean, megabytes];
  });
  return markdownTable(["", ...steps, "later, each", "held"], rows);
}

/** The first column is aligned left, the others right, with padding so that the columns also align in plain text. */
export function markdownTable(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = heading.map((text, column) =>
    Math.max(3, text.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => pad(cells[column] ?? "", width, column)).join(" | ")} |`;
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(heading), line(rule), ...rows.map(line)];
}

function pad(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width);
}
