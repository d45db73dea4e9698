// Shows the events of the pipeline: a line on stdout for each stage and its result, and the progress of a stage on
// stderr. Also prints the tables of comparisons and sweeps.

import process from "node:process";
import { metricNamed, metricsOf, valueText } from "../../../hub/card/comparison.ts";
import { isDense } from "../../../hub/model-folder/index.ts";
import { countOf, formatCount, percent } from "../../../hub/text/numbers.ts";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import { reorderedLines } from "../../pipeline/reorder.ts";
import type { RepeatedResult } from "../../pipeline/results/sweep-results.ts";
import type { InnerEvent, PipelineEvent, StreamEvent, WindowsEvent } from "../../pipeline/stage.ts";
import type { TourEvent } from "../../pipeline/tour.ts";
import { showPull } from "../pull.ts";
import { showPullZoo } from "../pull-zoo.ts";
import { showPush } from "../push.ts";
import { LINE_EVERY, type ProgressBar, progressBar } from "./progress.ts";
import { type Cell, formatBytes, type Palette, paletteFor, table, threeDigits } from "./terminal.ts";

/** Events of experiments and verbs, and those that only tours have. */
export type ViewEvent = PipelineEvent | TourEvent;

interface ViewOptions {
  /** whether nothing is written to stdout, because the verb writes its result there */
  silent: boolean;
  /** whether lines of progress are written to stderr if it is not a terminal */
  progressLines: boolean;
}

/** Shows one event after another. Must be stopped. */
export class PipelineView {
  private bar: ProgressBar | undefined;
  /** label of the stage that began last */
  private label = "";
  private readonly palette: Palette = paletteFor(process.stdout, process.env);
  private readonly options: ViewOptions;

  constructor(options: ViewOptions) {
    this.options = options;
  }

  show(event: ViewEvent): void {
    if (event.kind === "stage") this.begin(event);
    else if (event.kind === "inner") this.inner(event);
    else if (event.kind === "row") this.line(rowLine(event.row));
    else if (event.kind === "note") this.aside(event.text);
    else this.stop();
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  private begin({ stage, of, done }: Extract<PipelineEvent, { kind: "stage" }>): void {
    this.stop();
    this.label = of === undefined ? stage : `${stage} ${of}`;
    this.line(done ? this.palette.dim(`${this.label}: already done`) : this.palette.dim(`${this.label} …`));
  }

  private line(text: string): void {
    this.stop();
    if (!this.options.silent) process.stdout.write(`${text}\n`);
  }

  /** A note for the user, on stderr. */
  private aside(text: string): void {
    this.stop();
    process.stderr.write(`gblr: ${text}\n`);
  }

  /**
   * The progress bar of a kind of work: the current bar, or a new one if the current bar is of another kind.
   * @param what kind of work; it is the label of the bar outside of stages
   */
  private barFor(what: string, total: number, format: (amount: number) => string): ProgressBar {
    if (this.bar && this.barKey === what) return this.bar;
    this.stop();
    this.barKey = what;
    this.barDone = 0;
    const lineEvery = this.options.progressLines ? LINE_EVERY : undefined;
    this.bar = progressBar({ label: this.label || what, total, format, lineEvery });
    return this.bar;
  }

  private barKey = "";
  private barDone = 0;

  private moveTo(bar: ProgressBar, done: number): void {
    bar.advance(done - this.barDone);
    this.barDone = done;
  }

  private inner(inner: InnerEvent): void {
    const { of, event } = inner;
    if (of === "harness") this.harness(event);
    else if (of === "pull") showPull(event, this.barFor(inner.name, 0, formatBytes));
    else if (of === "zoo" && event.kind === "note") this.aside(event.text);
    else if (of === "zoo") showPullZoo(event, this.barFor(inner.name, 0, formatBytes));
    else if (of === "push") showPush(event, this.barFor("pushing", 0, formatBytes));
    else if (of === "import") this.transfer("importing", event);
    else if (of === "load") this.transfer("loading", event);
    else if (of === "save") this.transfer("saving", event);
    else if (of === "tokenize") this.tokenize(event);
    else if (of === "windows") this.windows(event);
    else if (of === "stream") this.stream(event);
    else if (of === "images" && event.kind === "extracting") {
      const note = `${formatCount(event.images)} images, ${formatBytes(event.bytes)}`;
      this.progress("images", { done: event.fraction, of: 1, format: percent, note });
    } else if (of === "evaluate" && event.kind === "progress") {
      const note = `perplexity ${Math.exp(event.nll).toFixed(3)}`;
      this.progress("evaluating", { done: event.windows, of: event.of, format: counted("windows"), note });
    } else if (of === "accuracy" && event.kind === "progress") {
      const note = `top-1 ${percent(event.top1)}  loss ${event.loss.toFixed(4)}`;
      this.progress("evaluating", { done: event.images, of: event.of, format: counted("images"), note });
    } else if (of === "calibrate" && event.kind === "progress") {
      this.progress("calibrating", { done: event.inputs, of: inner.total, format: counted(inner.unit) });
    } else if (of === "gradients" && event.kind === "progress") {
      this.progress("gradients", { done: event.inputs, of: inner.total, format: counted(inner.unit) });
    } else if (of === "reorder") this.reorder(event);
    else if (of === "convert") this.convert(event);
    else if (of === "fit") this.fit(event);
  }

  private progress(what: string, { done, of, format, note }: Progress): void {
    const bar = this.barFor(what, of, format);
    this.moveTo(bar, done);
    if (note !== undefined) bar.note(note);
  }

  /** Shows the progress of lm_eval. Its parts follow each other with other totals. */
  private harness({ what, done, of }: Extract<InnerEvent, { of: "harness" }>["event"]): void {
    this.label = "lm_eval";
    const bar = this.barFor(`${what} ${of}`, of, (count) => counted("")(count).trim());
    bar.note(what);
    this.moveTo(bar, done);
  }

  /** Shows the bytes of a model that are read or written. */
  private transfer(what: string, event: Extract<InnerEvent, { of: "import" | "load" | "save" }>["event"]): void {
    const bar = this.barFor(what, 0, formatBytes);
    if (event.kind === "opened") bar.setTotal(event.bytes);
    else if (event.kind === "saved") this.stop();
    else bar.advance(event.bytes);
  }

  private tokenize(event: Extract<InnerEvent, { of: "tokenize" }>["event"]): void {
    if (event.kind === "tokenizing") {
      const note = `${formatCount(event.tokens)} tokens, ${formatBytes(event.bytesPerSecond)}/s`;
      this.progress("tokenizing", { done: event.fraction, of: 1, format: percent, note });
    } else if (event.kind === "tokens") {
      this.line(`  ${countOf(event.tokens.length, "token")} from ${formatBytes(event.tokens.counts.bytes)} of text`);
    }
  }

  private windows({ split, windows, context, leftOut }: WindowsEvent): void {
    if (leftOut === 0) return;
    const whole = countOf(windows, "whole window");
    this.line(`  ${split}: ${whole} of ${context} tokens; ${countOf(leftOut, "token")} at the end left out`);
  }

  private stream({ split, files, bytes, lanes, images }: StreamEvent): void {
    const what = images === undefined ? "" : `${countOf(images, "image")} in `;
    const divided = lanes === 1 ? "" : `, divided among the ${lanes} micro-batches of a step`;
    this.line(`  ${split}: streams ${what}${countOf(files, "file")} of ${formatBytes(bytes)}${divided}`);
  }

  private reorder(event: Extract<InnerEvent, { of: "reorder" }>["event"]): void {
    if (event.kind === "units") {
      const { index, of, name } = event;
      this.progress("reordering", { done: index, of, format: counted("orders"), note: name });
    } else for (const line of reorderedLines(event)) this.line(`  ${line}`);
  }

  private convert(event: Extract<InnerEvent, { of: "convert" }>["event"]): void {
    if (event.kind === "layer") {
      this.progress("converting", { done: event.index, of: event.of, format: counted("layers"), note: event.name });
    } else if (event.kind === "restored") {
      const bar = this.barFor("converting", event.of, counted("layers"));
      bar.skip(event.index + 1 - this.barDone);
      this.barDone = event.index + 1;
    } else if (event.kind === "calibrating") {
      this.bar?.note(`${event.name}, calibrating ${event.inputs} of ${event.of}`);
    } else if (event.kind === "search") {
      this.bar?.note(`${event.name}, step ${event.step} of ${event.steps}, error ${event.error.toFixed(4)}`);
    } else if (event.kind === "converted") {
      const { totals, counts, layers } = event;
      const mean = layers.reduce((sum, { error }) => sum + error, 0) / layers.length;
      const cost = `${percent(totals.share)} of their dense multiply-adds, relative FLOPs ${percent(counts.reference.relative)} (reference), ${percent(counts.actual.relative)} (actual)`;
      this.line(`  ${countOf(layers.length, "layer")} at ${cost}; mean relative error ${mean.toFixed(4)}`);
    }
  }

  private fit(event: Extract<InnerEvent, { of: "fit" }>["event"]): void {
    if (event.kind === "started" || event.kind === "resumed") {
      if (event.adapted !== undefined) this.line(`  trains ${formatCount(event.adapted)} parameters, with adapters`);
      if (event.kind === "resumed") this.line(`  resumes after step ${event.step} of ${event.steps}`);
    } else if (event.kind === "step") {
      const bar = this.barFor("training", event.steps, steps);
      if (this.barDone === 0) bar.skip(event.step - 1);
      if (this.barDone === 0) this.barDone = event.step - 1;
      this.moveTo(bar, event.step);
      const cost = event.relativeCost === undefined ? "" : `  cost ${percent(event.relativeCost)}`;
      bar.note(`loss ${event.loss.toFixed(4)}  ${threeDigits(event.rate)}/s${cost}`);
    } else if (event.kind === "evaluation") {
      const values = Object.entries(event.values).map(([name, value]) => `${name} ${value.toFixed(4)}`);
      this.line(`  step ${event.step}  ${event.split}: ${values.join("  ")}`);
    } else if (event.kind === "sample") {
      this.line(`  step ${event.step}  ${JSON.stringify(event.prompt)} → ${JSON.stringify(event.text)}`);
    }
  }
}

interface Progress {
  done: number;
  of: number;
  format: (amount: number) => string;
  /** text after the numbers */
  note?: string;
}

/** Formats counts and speeds. Speeds of less than ten keep two digits, such as `0.083 windows` in a second. */
const counted = (unit: string) => (count: number) =>
  `${count < 10 ? Number(count.toPrecision(2)) : Math.round(count)} ${unit}`;
const steps = (count: number) =>
  count < 10 && count % 1 !== 0 ? `${count.toFixed(2)} steps` : `${Math.round(count)} steps`;

const stageName = ({ stage, structure }: ComparisonRow) =>
  isDense(structure) && stage === "before" ? "" : stage === "before" ? " before fine-tuning" : " fine-tuned";

function rowLine(row: ComparisonRow): string {
  const metrics = Object.entries(row.metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  return `  ${row.name}${stageName(row)}: ${metrics.join("  ")}`;
}

/** The lines of the table of the comparison. */
export function comparisonTable(rows: readonly ComparisonRow[], palette: Palette): string[] {
  const metric = Object.keys(rows[0]?.metrics ?? {})[0] ?? "perplexity";
  const right = (text: string): Cell => ({ text, align: "right" });
  const headings = twoLines(["model", "", metric, ...RELATIVE_FLOPS, "parameters", "file", "seconds"]).map((line) =>
    line.map((text, i): Cell => ({ text, paint: palette.dim, align: i < 2 ? "left" : "right" })),
  );
  const body = rows.map((row): Cell[] => [
    { text: row.name },
    { text: stageName(row).trim() },
    right(row.metrics[metric]?.toFixed(3) ?? ""),
    right(row.relativeFlops ? percent(row.relativeFlops.reference) : ""),
    right(row.relativeFlops ? percent(row.relativeFlops.actual) : ""),
    right(row.parameters === undefined ? "" : `${threeDigits(row.parameters / 1e6)} M`),
    right(row.fileBytes === undefined ? "" : formatBytes(row.fileBytes)),
    right(row.seconds === undefined ? "" : threeDigits(row.seconds)),
  ]);
  return table([...headings, ...body]);
}

/** The lines of the table of a sweep, with a column for each setting that varies. */
export function sweepTable(results: readonly RepeatedResult[], palette: Palette): string[] {
  const repeated = results.some(({ runs }) => runs > 1);
  const settings = [...new Set(results.flatMap(({ values }) => Object.keys(values)))];
  const metrics = metricsOf(results);
  const right = (text: string): Cell => ({ text, align: "right" });
  const labels = metrics.map((name) => metricNamed(name).label);
  const heading = [
    ...settings,
    "model",
    ...(repeated ? ["runs"] : []),
    ...labels,
    ...RELATIVE_FLOPS,
    "file",
    "seconds",
  ];
  const body = results.map((row): Cell[] => [
    ...settings.map((name) => ({ text: row.values[name] ?? "" })),
    { text: row.name },
    ...(repeated ? [right(String(row.runs))] : []),
    ...metrics.map((name) => right(metricText(name, row))),
    right(row.relativeFlops ? percent(row.relativeFlops.reference) : ""),
    right(row.relativeFlops ? percent(row.relativeFlops.actual) : ""),
    right(row.fileBytes === undefined ? "" : formatBytes(row.fileBytes)),
    right(row.seconds === undefined ? "" : threeDigits(row.seconds)),
  ]);
  const head = twoLines(heading).map((line) =>
    line.map((text, i): Cell => ({ text, paint: palette.dim, align: i <= settings.length ? "left" : "right" })),
  );
  return table([...head, ...body]);
}

/** The value of a metric, or for several runs the mean and the deviation, e.g. `54.05 % ± 0.42 %`. */
function metricText(name: string, { metrics, spread }: RepeatedResult): string {
  const value = metrics[name];
  if (value === undefined) return "";
  return spread ? `${valueText(name, value)} ± ${valueText(name, spread[name] as number)}` : valueText(name, value);
}

/** Headings of the two counts of multiply-adds, which all tables show side by side. */
const RELATIVE_FLOPS = ["relative FLOPs\n(reference)", "relative FLOPs\n(actual)"];

/** Splits headings into two lines at their line break. A heading without one is on the second line. */
function twoLines(headings: readonly string[]): [string[], string[]] {
  const parts = headings.map((heading) => heading.split("\n"));
  return [
    parts.map((part) => (part.length > 1 ? (part[0] as string) : "")),
    parts.map((part) => part.at(-1) as string),
  ];
}
