// An experiment as a person follows it: a line on stdout when a stage is done, a bar on stderr while it works, the table
// at the end. With --json stdout is left to the one document.

import process from "node:process";
import { percent } from "../../../hub/text/numbers.ts";
import type { ExperimentEvent, InnerEvent } from "../../pipeline/stage.ts";
import type { ComparisonRow } from "../../report/index.ts";
import { showPull } from "../pull.ts";
import { showPullZoo } from "../pull-zoo.ts";
import { showPush } from "../push.ts";
import { type ProgressBar, progressBar } from "./progress.ts";
import { type Cell, formatBytes, type Palette, paletteFor, table, threeDigits } from "./terminal.ts";

export class ExperimentView {
  private bar: ProgressBar | undefined;
  /** what the bar is about */
  private label = "";
  private readonly palette: Palette = paletteFor(process.stdout, process.env);
  private readonly silent: boolean;

  constructor({ silent }: { silent: boolean }) {
    this.silent = silent;
  }

  show(event: ExperimentEvent): void {
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

  private begin({ stage, of, done }: Extract<ExperimentEvent, { kind: "stage" }>): void {
    this.stop();
    this.label = of === undefined ? stage : `${stage} ${of}`;
    this.line(done ? this.palette.dim(`${this.label}: done before`) : this.palette.dim(`${this.label} …`));
  }

  private line(text: string): void {
    this.stop();
    if (!this.silent) process.stdout.write(`${text}\n`);
  }

  /** What the user should know, whatever stdout is for. */
  private aside(text: string): void {
    this.stop();
    process.stderr.write(`gblr: ${text}\n`);
  }

  /** The present bar, or a new one for another kind of amount. */
  private barFor(key: string, total: number, format: (amount: number) => string): ProgressBar {
    if (this.bar && this.barKey === key) return this.bar;
    this.stop();
    this.barKey = key;
    this.barDone = 0;
    this.bar = progressBar({ label: this.label, total, format });
    return this.bar;
  }

  private barKey = "";
  private barDone = 0;

  private moveTo(bar: ProgressBar, done: number): void {
    bar.advance(done - this.barDone);
    this.barDone = done;
  }

  private inner({ of, event }: InnerEvent): void {
    if (of === "pull") showPull(event, this.barFor("pull", 0, formatBytes));
    else if (of === "zoo" && event.kind === "note") this.aside(event.text);
    else if (of === "zoo") showPullZoo(event, this.barFor("pull", 0, formatBytes));
    else if (of === "push") showPush(event, this.barFor("push", 0, formatBytes));
    else if (of === "tokenize" && event.kind === "tokenizing") {
      const bar = this.barFor("tokenize", 1, percent);
      this.moveTo(bar, event.fraction);
      bar.note(`${event.tokens} tokens, ${formatBytes(event.bytesPerSecond)}/s`);
    } else if (of === "tokenize" && event.kind === "tokens") {
      this.line(`  ${event.tokens.length} tokens of ${formatBytes(event.tokens.counts.bytes)} text`);
    } else if (of === "windows") {
      const { split, windows, context, leftOut } = event;
      if (leftOut > 0) {
        this.line(`  ${split}: ${windows} whole windows of ${context} tokens; ${leftOut} tokens at the end left out`);
      }
    } else if (of === "evaluate" && event.kind === "progress") {
      const bar = this.barFor("evaluate", event.of, windows);
      this.moveTo(bar, event.windows);
      bar.note(`perplexity ${Math.exp(event.nll).toFixed(3)}`);
    } else if (of === "images" && event.kind === "extracting") {
      const bar = this.barFor("images", 1, percent);
      this.moveTo(bar, event.fraction);
      bar.note(`${event.images} images, ${formatBytes(event.bytes)}`);
    } else if (of === "accuracy" && event.kind === "progress") {
      const bar = this.barFor("accuracy", event.of, images);
      this.moveTo(bar, event.images);
      bar.note(`top-1 ${percent(event.top1)}  loss ${event.loss.toFixed(4)}`);
    } else if (of === "convert") this.convert(event);
    else if (of === "fit") this.fit(event);
  }

  private convert(event: Extract<InnerEvent, { of: "convert" }>["event"]): void {
    if (event.kind === "layer") {
      const bar = this.barFor("convert", event.of, layers);
      this.moveTo(bar, event.index);
      bar.note(event.name);
    } else if (event.kind === "search") {
      this.bar?.note(`${event.name}, step ${event.step} of ${event.steps}, error ${event.error.toFixed(4)}`);
    } else if (event.kind === "converted") {
      const { totals, counts, layers } = event;
      const mean = layers.reduce((sum, { error }) => sum + error, 0) / layers.length;
      const cost = `${percent(totals.share)} of their dense multiply-adds, ${percent(counts.reference.relative)} of the model's`;
      this.line(`  ${layers.length} layers at ${cost}; mean relative error ${mean.toFixed(4)}`);
    }
  }

  private fit(event: Extract<InnerEvent, { of: "fit" }>["event"]): void {
    if (event.kind === "resumed") this.line(`  goes on after step ${event.step} of ${event.steps}`);
    else if (event.kind === "step") {
      const bar = this.barFor("fit", event.steps, steps);
      if (this.barDone === 0) bar.skip(event.step - 1);
      if (this.barDone === 0) this.barDone = event.step - 1;
      this.moveTo(bar, event.step);
      const cost = event.relativeCost === undefined ? "" : `  cost ${percent(event.relativeCost)}`;
      bar.note(`loss ${event.loss.toFixed(4)}  ${threeDigits(event.rate)} a second${cost}`);
    } else if (event.kind === "evaluation") {
      const values = Object.entries(event.values).map(([name, value]) => `${name} ${value.toFixed(4)}`);
      this.line(`  step ${event.step}  ${event.split}: ${values.join("  ")}`);
    }
  }
}

/** Runs a stage to its end with its progress on the view. */
export async function shown<Result>(
  stage: AsyncGenerator<ExperimentEvent, Result>,
  view: ExperimentView,
): Promise<Result> {
  for (;;) {
    const { value, done } = await stage.next();
    if (done) return value;
    view.show(value);
  }
}

const windows = (count: number) => `${Math.round(count)} windows`;
const images = (count: number) => `${Math.round(count)} images`;
const layers = (count: number) => `${Math.round(count)} layers`;
const steps = (count: number) =>
  count < 10 && count % 1 !== 0 ? `${count.toFixed(2)} steps` : `${Math.round(count)} steps`;

const stageName = ({ stage, structure }: ComparisonRow) =>
  structure === "dense" && stage === "before" ? "" : stage === "before" ? " before fine-tuning" : " fine-tuned";

function rowLine(row: ComparisonRow): string {
  const metrics = Object.entries(row.metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  return `  ${row.name}${stageName(row)}: ${metrics.join("  ")}`;
}

/** Lines of the comparison, for a terminal. */
export function comparisonTable(rows: readonly ComparisonRow[], palette: Palette): string[] {
  const metric = Object.keys(rows[0]?.metrics ?? {})[0] ?? "perplexity";
  const right = (text: string): Cell => ({ text, align: "right" });
  const heading = ["model", "", metric, "FLOPs (reference)", "FLOPs (all)", "parameters", "file", "seconds"].map(
    (text, i): Cell => ({ text, paint: palette.dim, align: i < 2 ? "left" : "right" }),
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
  return table([heading, ...body]);
}
