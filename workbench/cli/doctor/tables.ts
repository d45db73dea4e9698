// Prints the report of `gblr doctor`, which collect.ts has collected, in at most 100 columns. Each missing engine has a
// remedy.

import { BUILD_ANEW_COMMAND, BUILD_COMMAND } from "../../../hub/files/about.ts";
import type { BlasReport } from "../../engine/backends/torch/blas.ts";
import type { DeviceInfo } from "../../engine/core/types.ts";
import type { FormsSummary } from "../../structures/inference/kept-forms.ts";
import { type Cell, formatBytes, type Palette, table, threeDigits, WIDTH, wrap } from "../shared/terminal.ts";
import type { EngineReport, HubSettings, Machine, Outcome, Report } from "./collect.ts";

/** The report as text. */
export function printReport(report: Report, palette: Palette): string {
  return [
    palette.bold(`gblr ${report.gblr}`),
    ...machineLines(report.machine, palette),
    "",
    palette.bold("Engines"),
    ...engineTable(report, palette),
    "",
    ...report.engines.flatMap((engine) => engineNote(engine, palette)),
    ...blasNote(report, palette),
    ...distributedNote(report, palette),
    ...choiceLines(report),
    "",
    palette.bold("Devices"),
    ...deviceLines(report, palette),
    "",
    palette.bold("Forms of GBLR layers in inference"),
    ...formLines(report.forms, palette),
    "",
    palette.bold("Hugging Face Hub"),
    ...hubLines(report.hub, palette),
  ].join("\n");
}

function machineLines(
  { runtime, system, kernel, architecture, cpu, cores, memory }: Machine,
  palette: Palette,
): string[] {
  return fields(
    {
      runtime: `${runtime.name} ${runtime.version}`,
      system: `${system}, ${kernel}, ${architecture}`,
      CPU: `${cpu}, ${cores} ${cores === 1 ? "core" : "cores"}`,
      memory: formatBytes(memory),
    },
    palette,
  );
}

/** The table of engines. It has columns for sizes, because plain JavaScript is measured on smaller matrices. */
function engineTable({ engines }: Report, palette: Palette): string[] {
  const heading = ["engine", "state", "device", "threads", "precision", "product", "GFLOP/s", "a + b", "GB/s"];
  const rows = engines.map((engine) => engineRow(engine, palette));
  return table([
    heading.map((text, column): Cell => ({ text, paint: palette.dim, align: alignment(column) })),
    ...rows,
  ]);
}

const FIRST_NUMBER = 5;

function alignment(column: number): "left" | "right" {
  return column === 3 || column >= FIRST_NUMBER ? "right" : "left";
}

function engineRow({ name, probe, outcome }: EngineReport, palette: Palette): Cell[] {
  const state = stateCell(probe.available, outcome, palette);
  const facts: string[] = [];
  if (outcome !== undefined && "measured" in outcome) {
    const { device, threads, precision, matMul, elementwise } = outcome.measured;
    const sizes = { product: `${matMul.size}³`, sum: `${Math.round(elementwise.size / 2 ** 20)} M` };
    facts.push(device, String(threads), precision);
    facts.push(sizes.product, threeDigits(matMul.gflops), sizes.sum, threeDigits(elementwise.gigabytesPerSecond));
  }
  return [{ text: name }, state, ...facts.map((text, index): Cell => ({ text, align: alignment(index + 2) }))];
}

function stateCell(available: boolean, outcome: Outcome | undefined, palette: Palette): Cell {
  if (outcome !== undefined && "error" in outcome && available) return { text: "failed", paint: palette.bad };
  if (!available) return { text: "missing", paint: palette.warn };
  return { text: outcome === undefined ? "found" : "ready", paint: palette.good };
}

const NOTE_INDENT = 14;

function engineNote({ name, probe, outcome }: EngineReport, palette: Palette): string[] {
  if (!probe.available) return note(name, [probe.reason, `→ ${probe.remedy}`], palette);
  const found = `${probe.version}, ${probe.detail}`;
  const failure = outcome !== undefined && "error" in outcome ? [`✗ ${outcome.error}`] : [];
  return note(name, [found, ...failure], palette);
}

function blasNote({ blas }: Report, palette: Palette): string[] {
  if (blas === undefined) return [];
  return note("BLAS", "error" in blas ? [`✗ ${blas.error}`] : blasParagraphs(blas), palette);
}

function distributedNote({ distributed }: Report, palette: Palette): string[] {
  if (distributed === undefined) return [];
  return note("distributed", distributedParagraphs(distributed), palette);
}

const NO_NCCL = `no NCCL: see docs/distributed.md for the headers that the build lacks, then run \`${BUILD_COMMAND}\``;
const BACKEND_TITLES = { gloo: "Gloo", nccl: "NCCL" };

function distributedParagraphs(distributed: NonNullable<Report["distributed"]>): string[] {
  if ("error" in distributed) return [`✗ ${distributed.error}`];
  const { ranks, bytes, seconds, through, lacksNccl } = distributed;
  const amount = `${formatBytes(bytes)} through ${BACKEND_TITLES[through]}`;
  const rate = `${threeDigits(1000 * seconds)} ms, ${threeDigits(bytes / seconds / 1e9)} GB/s`;
  return [`${ranks} processes added up ${amount} in ${rate}`, ...(lacksNccl ? [NO_NCCL] : [])];
}

/** The kernels of the BLAS, how they were chosen, and their speed. */
export function blasParagraphs({ library, kernels }: BlasReport): string[] {
  if (kernels === undefined) return [library];
  const { core, chosenBy, measured, otherwise, rejected, failure } = kernels;
  const who = chosenBy === "OPENBLAS_CORETYPE" ? `set by ${chosenBy}` : `chosen by ${chosenBy}`;
  const others = chosenBy === "OPENBLAS_CORETYPE" ? "without the variable" : "OpenBLAS's own choice";
  return [
    `${library} with its ${core} kernels, ${who}${measured ? `: ${rate(measured)} on one thread` : ""}`,
    ...(otherwise ? [`${others}: ${otherwise.core}, ${rate(otherwise)}`] : []),
    ...(measured?.wrong ? [`✗ wrong result of ${measured.wrong}: set OPENBLAS_CORETYPE to other kernels`] : []),
    ...(failure ? [`✗ kernels could not be tried: ${failure}; run \`${BUILD_ANEW_COMMAND}\``] : []),
    ...rejected.map(({ core, why }) => `${core} kernels were tried and not taken: ${why}`),
  ];
}

const rate = ({ gflops }: { gflops: number }) => `${threeDigits(gflops)} GFLOP/s`;

/** A label with indented paragraphs to its right. */
function note(label: string, paragraphs: readonly string[], palette: Palette): string[] {
  const lines = paragraphs.flatMap((paragraph) => wrap(paragraph, WIDTH - NOTE_INDENT));
  const margin = (index: number) => (index === 0 ? `  ${label}` : "").padEnd(NOTE_INDENT);
  return lines.map((line, index) => palette.dim(margin(index)) + line);
}

/** The reason for the engine that `auto` has chosen; empty if an engine was requested. */
function choiceLines({ requested, opened }: Report): string[] {
  if ("error" in opened || (requested.engine ?? "auto") !== "auto") return [];
  return ["", ...wrap(opened.measured.why, WIDTH - 2).map((line) => `  ${line}`)];
}

function deviceLines({ engines }: Report, palette: Palette): string[] {
  const found = engines.flatMap(({ name, probe }) =>
    probe.available ? probe.devices.map((device) => ({ name, device })) : [],
  );
  return table(found.map(({ name, device }) => deviceRow(name, device, palette)));
}

function deviceRow(engine: string, { id, name, memory, software }: DeviceInfo, palette: Palette): Cell[] {
  const size = memory === undefined ? "" : formatBytes(memory);
  return [
    { text: engine, paint: palette.dim },
    { text: id },
    { text: software ? `${name} (software)` : name },
    { text: size, align: "right" },
  ];
}

function formLines({ file, processor, choices, others }: FormsSummary, palette: Palette): string[] {
  const elsewhere = others > 0 ? `, ${others} on other processors` : "";
  return fields(
    {
      measured: choices + others === 0 ? "none yet" : `${choices} on ${processor}${elsewhere}`,
      "kept in": file,
      "measure again": choices === 0 ? undefined : "--form measure of verbs that evaluate or generate",
      shown: choices === 0 ? undefined : "by gblr inspect, layer by layer",
    },
    palette,
  );
}

function hubLines({ endpoint, token, home }: HubSettings, palette: Palette): string[] {
  const unset = "not set (HF_TOKEN, or a token file in the cache folder)";
  return fields({ endpoint, token: token.set ? `set, from ${token.source}` : unset, cache: home }, palette);
}

function fields(values: Readonly<Record<string, string | undefined>>, palette: Palette): string[] {
  const known = Object.entries(values).filter((field): field is [string, string] => field[1] !== undefined);
  return table(known.map(([name, text]): Cell[] => [{ text: name, paint: palette.dim }, { text }]));
}
