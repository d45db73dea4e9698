// `bun bench/layers.ts`: the speed of GBLR layers over dense ones in inference. The spans are those that block searches
// found on SmolLM2 at 40 and 25 % of the multiply-adds (bench/layers/smollm2-spans.safetensors), scaled to the sizes of
// the linear layers of GPT-2 small, ViT-B and SmolLM2. Values are random. A model's layers are multiplied one after the
// other with many rows, as in evaluation, or with one row, as in generation, where all its layers together do not fit
// into the caches.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { Command } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import type { Engine } from "../workbench/engine/core/types.ts";
import { formsOfBlocks, packedStructure } from "../workbench/structures/inference/packed.ts";
import { FORM_NAMES, type FormName, type HeldMatrix } from "../workbench/structures/structure.ts";
import { type BenchLayer, BLOCKS } from "./layers/models.ts";
import { type FoundSpans, packedLike, readSpans } from "./layers/spans.ts";

const SHARES = [0.4, 0.25];
const KINDS = ["compact", "compact-16", "stable-16"];
/** Blocks of a model with one row. Their dense weights take more memory than the caches of most processors have. */
const COPIES = 12;

interface Options {
  rows: number;
  rounds: number;
  threads?: number;
  json?: boolean;
}

interface Row {
  model: string;
  kind: string;
  share: number;
  rows: number;
  /** multiply-adds of the panels over those of the blocks */
  padding: number;
  /** seconds of dense over those of a form; of the fastest form of each layer for `best` */
  speed: Record<FormName | "best", number>;
}

const options = new Command("bun bench/layers.ts")
  .description("measures the speed of GBLR layers over dense ones")
  .option("--rows <rows>", "rows of x in evaluation", Number, 1024)
  .option("--rounds <rounds>", "times that the forms are measured in turn", Number, 9)
  .option("--threads <count>", "CPU threads (default: one per core)", Number)
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/layers.ts --rounds 15")
  .parse()
  .opts<Options>();

const engine = await openEngine({ engine: "torch", ...(options.threads && { threads: options.threads }) });
const found = await readSpans();
const results: Row[] = [];
for (const [model, layers] of Object.entries(BLOCKS)) {
  for (const share of SHARES) {
    for (const kind of KINDS) {
      for (const rows of [options.rows, 1]) {
        results.push(await measured({ model, layers, kind, share, rows }));
        if (!options.json) process.stderr.write(`${model}, ${kind}, ${share}, ${rows} rows\n`);
      }
    }
  }
}
process.stdout.write(options.json ? `${JSON.stringify({ ...facts(engine), results }, null, 2)}\n` : page(results));

interface Case {
  model: string;
  layers: readonly BenchLayer[];
  kind: string;
  share: number;
  rows: number;
}

async function measured({ model, layers, kind, share, rows }: Case): Promise<Row> {
  const totals = new Map<FormName, number[]>();
  const best: number[] = [];
  const held: HeldLayer[] = [];
  for (const { nIn, nOut, like } of layers) {
    const spans = found.get(`${kind}/${share}/${like}`) as FoundSpans;
    const forms = [];
    for (let copy = 0; copy < (rows === 1 ? COPIES : 1); copy++) forms.push(await formsFor(spans, { nIn, nOut }));
    held.push({ forms, x: tf.randomNormal([rows, nIn]) });
  }
  const padding = valuesOf(held, "panels") / valuesOf(held, "packed");
  for (let round = -1; round < options.rounds; round++) {
    const seconds = await roundOf(held);
    if (round < 0) continue;
    for (const name of FORM_NAMES) {
      const total = seconds.reduce((sum, layer) => sum + (layer.get(name) as number), 0);
      totals.set(name, [...(totals.get(name) ?? []), total]);
    }
    best.push(seconds.reduce((sum, layer) => sum + Math.min(...layer.values()), 0));
  }
  for (const { forms, x } of held) {
    x.dispose();
    for (const each of forms) for (const { parameters } of each.values()) tf.dispose({ ...parameters });
  }
  const dense = totals.get("dense") as number[];
  const over = (times: readonly number[]) => median(times.map((time, round) => (dense[round] as number) / time));
  const speed = Object.fromEntries(FORM_NAMES.map((name) => [name, over(totals.get(name) as number[])]));
  return { model, kind, share, rows, padding, speed: { ...speed, best: over(best) } as Row["speed"] };
}

interface HeldLayer {
  forms: Map<FormName, HeldMatrix>[];
  x: tf.Tensor;
}

/** Number of values of all layers in a form of blocks. */
function valuesOf(layers: readonly HeldLayer[], name: "packed" | "panels"): number {
  return layers.reduce((total, { forms }) => {
    const [first] = forms as [Map<FormName, HeldMatrix>];
    const { values_in, values_out } = (first.get(name) as HeldMatrix).parameters;
    return total + (values_in as tf.Tensor).size + (values_out as tf.Tensor).size;
  }, 0);
}

/** Seconds of each layer by form. The forms take turns, all copies of a layer one after the other. */
async function roundOf(layers: readonly HeldLayer[]): Promise<Map<FormName, number>[]> {
  const seconds = layers.map(() => new Map<FormName, number>());
  for (const name of FORM_NAMES) {
    for (const [i, { forms, x }] of layers.entries()) {
      const began = performance.now();
      for (const each of forms) {
        const { structure, parameters } = each.get(name) as HeldMatrix;
        structure.apply(parameters, x).dispose();
      }
      await engine.synchronize();
      (seconds[i] as Map<FormName, number>).set(name, (performance.now() - began) / 1000);
    }
  }
  return seconds;
}

async function formsFor(spans: FoundSpans, size: { nIn: number; nOut: number }): Promise<Map<FormName, HeldMatrix>> {
  const packed = packedLike(spans, size);
  const forms = formsOfBlocks(packed, packedStructure({ ...size, blocks: packed.spans.shape[1] }));
  const made = new Map<FormName, HeldMatrix>();
  for (const { name, make } of forms) made.set(name, await make());
  tf.dispose([packed.spans, packed.values_in, packed.values_out]);
  return made;
}

function facts({ name, version, threads }: Engine) {
  return { machine: inspectMachine().cpu, engine: name, version, threads };
}

function page(rows: readonly Row[]): string {
  const { machine, engine: name, version, threads } = facts(engine);
  const cells = rows.map(({ model, kind, share, rows: count, padding, speed }) => [
    model,
    kind,
    `${100 * share} %`,
    String(count),
    padding.toFixed(3),
    ...[...FORM_NAMES.slice(1).map((name) => speed[name]), speed.best].map((ratio) => ratio.toFixed(2)),
  ]);
  const header = ["model", "blocks", "multiply-adds", "rows", "padding", ...FORM_NAMES.slice(1), "fastest"];
  const line = (parts: readonly string[]) => `| ${parts.join(" | ")} |`;
  return [
    `${machine}; engine ${name}, ${version}, ${threads} threads. Speed of the linear layers over dense, medians of ${options.rounds} rounds.`,
    "",
    line(header),
    line(header.map((_, i) => (i < 2 ? "---" : "--:"))),
    ...cells.map(line),
    "",
  ].join("\n");
}
