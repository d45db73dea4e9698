// `bun bench/inference.ts`: the speed of whole models in inference, dense and GBLR, with random weights. The blocks have
// the spans that block searches found on SmolLM2 at 40 and 25 % of the multiply-adds (layers/spans.ts). All variants are
// in one process and take turns; each layer has the form that is fastest on the device.

import path from "node:path";
import process from "node:process";
import { type Tensor2D, tensor2d, tensor4d, tidy } from "@tensorflow/tfjs-core";
import { Command, Option } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import { PRECISIONS, type Precision } from "../workbench/engine/core/types.ts";
import {
  architectureOfConfig,
  classifierLogits,
  forInference,
  generateTokens,
  languageNll,
  languageSizes,
  type Model,
} from "../workbench/models/index.ts";
import { formChoices } from "../workbench/structures/inference/choice.ts";
import { foundLayers } from "./layers/found-layers.ts";
import { readSpans } from "./layers/spans.ts";
import { progress, runPhase } from "./phases.ts";
import { randomModel } from "./random-weights.ts";

const MODELS = {
  gpt2: { model_type: "gpt2", n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024, vocab_size: 50257 },
  smollm2: {
    ...{ model_type: "llama", hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49152 },
    ...{ num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 8192, tie_word_embeddings: true },
  },
  "vit-b": { architecture: "vit_base_patch16_224", num_classes: 1000, model_args: {}, pretrained_cfg: {} },
};
/** Shares of the multiply-adds of the linear layers in blocks; 1 is the dense model. */
const SHARES = [1, 0.4, 0.25];

interface Options {
  model: keyof typeof MODELS;
  device?: string;
  precision: Precision;
  batch: number;
  context: number;
  blocks?: number;
  rounds: number;
  tokens: number;
  kind: string;
  python?: string;
  json?: boolean;
}

interface Row {
  what: string;
  /** windows' tokens, images or generated tokens a second, the median of the rounds */
  rate: number;
  unit: string;
  /** this rate over that of our dense model in the same round, the median of the rounds */
  overDense?: number;
  /** why there is no rate */
  error?: string;
}

const options = new Command("bun bench/inference.ts")
  .description("the speed of whole models in inference, dense and GBLR, with random weights")
  .addOption(new Option("--model <name>").choices(Object.keys(MODELS)).default("vit-b"))
  .option("--device <device>", "cpu, cuda (default: the best)")
  .addOption(new Option("--precision <precision>").choices(PRECISIONS).default("float32"))
  .option("--batch <count>", "windows or images of a forward pass", countFrom(1), 8)
  .option("--context <tokens>", "of a window", countFrom(2), 512)
  .option("--blocks <count>", "of a language model (default: those of its size)", countFrom(1))
  .option("--rounds <count>", "in which the variants take turns", countFrom(1), 5)
  .option("--tokens <count>", "to generate in a round by a language model; 0 for none", countFrom(0), 32)
  .option("--kind <name>", "of the block search: compact, compact-16, stable-16", "stable-16")
  .option("--python <path>", "a Python whose PyTorch runs the dense model, too")
  .option("--json", "one JSON document on stdout")
  .addHelpText(
    "after",
    "\nExample:\n  bun bench/inference.ts --model gpt2 --device cuda --precision bfloat16 --batch 64",
  )
  .parse()
  .opts<Options>();

const { device, precision, batch, context, rounds } = options;
const isVision = options.model === "vit-b";
const engine = await openEngine({ engine: "torch", precision, ...(device !== undefined && { device }) });
const models = new Map<number, Model>();
for (const share of SHARES) models.set(share, await variant(share));

const rows: Row[] = await (isVision
  ? compared("images/s", batch, "many", classify())
  : compared("tokens/s", batch * context, "many", evaluate()));
if (!isVision && options.tokens > 0)
  rows.push(...(await compared("generated tokens/s", options.tokens, "few", generate)));
const memory = engine.memory();
if (options.python !== undefined) {
  const failed = ({ message }: Error): Row => ({ what: "PyTorch dense", rate: 0, unit: "", error: message });
  rows.push(await pytorch(options.python).catch(failed));
}
const forms = Object.fromEntries(Object.entries(formChoices.taken).map(([key, { form }]) => [key, form]));
const report = {
  ...{ machine: inspectMachine(), engine: `${engine.name}, ${engine.version}`, device: engine.device },
  ...{ options, rows, memory, forms },
};
process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : page());

async function variant(share: number): Promise<Model> {
  progress(`making ${nameOf(share)}`);
  const { blocks } = options;
  const json = { ...MODELS[options.model], ...(blocks && { n_layer: blocks, num_hidden_layers: blocks }) };
  const model = randomModel(architectureOfConfig({ ...json }, options.model), json);
  if (share < 1) foundLayers(model, { found: await readSpans(), kind: options.kind, share });
  return model;
}

/** One pass of a model; its result need not be read for it to be computed. */
type Pass = (view: Model) => void | Promise<void>;

function evaluate(): Pass {
  const { vocabulary } = languageSizes(models.get(1) as Model);
  const ids = Int32Array.from({ length: batch * (context + 1) }, (_, i) => (i * 7919) % vocabulary);
  const windows = tensor2d(ids, [batch, context + 1], "int32") as Tensor2D;
  return (view) => languageNll(view, windows).dispose();
}

function classify(): Pass {
  const size = 224;
  const pixels = Float32Array.from({ length: batch * size * size * 3 }, (_, i) => Math.sin(12.9898 * (i + 1)));
  const images = tensor4d(pixels, [batch, size, size, 3]);
  return (view) => tidy(() => classifierLogits(view, images)).dispose();
}

async function generate(view: Model): Promise<void> {
  const asked = { tokens: options.tokens, temperature: 0, endOfText: [] };
  for await (const _ of generateTokens(view, [1, 2, 3, 4], asked));
}

/** All variants, in turn. The first round warms up. */
async function compared(unit: string, items: number, many: "many" | "few", pass: Pass): Promise<Row[]> {
  const views = new Map<number, Model>();
  const seconds = new Map<number, number[]>(SHARES.map((share) => [share, []]));
  for (const [share, model] of models) views.set(share, await forInference(model, { rows: many }));
  for (let round = -1; round < rounds; round++) {
    for (const [share, view] of views) {
      progress(`${unit}, ${nameOf(share)}, round ${round + 1}`);
      await engine.synchronize();
      const began = performance.now();
      await pass(view);
      await engine.synchronize();
      if (round >= 0) seconds.get(share)?.push((performance.now() - began) / 1000);
    }
  }
  for (const view of views.values()) view.dispose();
  const dense = seconds.get(1) as number[];
  return SHARES.map((share) => {
    const own = seconds.get(share) as number[];
    const overDense = median(own.map((taken, round) => (dense[round] as number) / taken));
    return { what: nameOf(share), rate: items / median(own), unit, ...(share < 1 && { overDense }) };
  });
}

async function pytorch(python: string): Promise<Row> {
  const { n_embd: width, n_layer: all, n_head: heads, vocab_size: vocabulary } = MODELS.gpt2;
  const common = {
    phase: "evaluate",
    batch,
    steps: rounds + 1,
    device: engine.device,
    precision,
    threads: engine.threads,
  };
  const asked = isVision
    ? { name: MODELS["vit-b"].architecture, ...common }
    : { width, blocks: options.blocks ?? all, heads, context, vocabulary, ...common };
  if (options.model === "smollm2") throw new Error("PyTorch runs gpt2 and vit-b; leave out --python");
  const file = path.join(import.meta.dirname, isVision ? "vision/pytorch.py" : "gpt2/pytorch.py");
  const { seconds } = await runPhase<{ seconds: number[] }>([python, file], asked);
  const rate = (batch * (isVision ? 1 : context)) / median(seconds.slice(1));
  return { what: "PyTorch dense", rate, unit: isVision ? "images/s" : "tokens/s" };
}

function nameOf(share: number): string {
  return share === 1 ? "dense" : `GBLR ${100 * share} %`;
}

function page(): string {
  const line = ({ what, rate, unit, overDense, error }: Row) =>
    `| ${what} | ${error ?? `${rate.toPrecision(4)} ${unit}`} | ${overDense?.toFixed(2) ?? ""} |`;
  return [
    `${options.model} with random weights; ${report.machine.cpu}; ${report.engine} on ${report.device}, ${precision}. Batches of ${batch}${isVision ? "" : ` × ${context} tokens`}.`,
    "",
    "| what | rate | over dense |",
    "| :-- | --: | --: |",
    ...rows.map(line),
    "",
  ].join("\n");
}
