// One phase of bench/gpt2.ts in a process of its own, so that its peak memory is its own: a JSON request on stdin, a JSON
// answer on stdout. Weights are random by a seed, and so are the tokens: neither changes what a step costs.

import { rm } from "node:fs/promises";
import process from "node:process";
import { text } from "node:stream/consumers";
import { convert, planConversion } from "../../workbench/compress/index.ts";
import type { TextWindows } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/open.ts";
import type { OpenEngineOptions } from "../../workbench/engine/types.ts";
import { perplexity } from "../../workbench/evaluate/perplexity.ts";
import { meanShrink } from "../../workbench/gblr/shrink/index.ts";
import { createModel, type Gpt2, gpt2 } from "../../workbench/models/index.ts";
import { fit, languageTask } from "../../workbench/train/index.ts";

export interface PhaseRequest {
  phase: "evaluate" | "train";
  structure: "dense" | "gblr" | "lowrank";
  engine: OpenEngineOptions;
  size: { width: number; blocks: number; heads: number; context: number; vocabulary: number };
  batch: number;
  microBatch: number;
  steps: number;
  /** a scratch folder */
  folder: string;
}

export interface PhaseAnswer {
  engine: string;
  device: string;
  relativeFlops: number;
  /** of converting; 0 for dense */
  convertSeconds: number;
  /** tokens a second: of each training step, or of the evaluation */
  rates: number[];
  peakBytes: number;
  /** of the engine: host memory in tensors, and what the GPU holds */
  memory: unknown;
  losses: number[];
}

const request = JSON.parse(await text(process.stdin)) as PhaseRequest;
process.stdout.write(JSON.stringify(await run(request)));

async function run({ phase, structure, engine: asked, size, folder, ...how }: PhaseRequest): Promise<PhaseAnswer> {
  const engine = await openEngine(asked);
  const { width, blocks, heads, context, vocabulary } = size;
  const json = { n_embd: width, n_layer: blocks, n_head: heads, n_positions: context, vocab_size: vocabulary };
  const noDropout = { embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 };
  const model = createModel(gpt2, { ...json, ...noDropout }, { seed: 1 }) as Gpt2;
  const began = performance.now();
  const relativeFlops = await converted(model, structure);
  const convertSeconds = structure === "dense" ? 0 : (performance.now() - began) / 1000;
  const windows = randomWindows(size, 64);
  const { rates, losses } =
    phase === "train" ? await trained(model, windows, { ...how, folder }) : await evaluated(model, windows, how);
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  return {
    engine: `${engine.name}, ${engine.version}`,
    device: engine.device,
    relativeFlops,
    convertSeconds,
    rates,
    peakBytes,
    memory: engine.memory(),
    losses,
  };
}

async function converted(model: Gpt2, structure: PhaseRequest["structure"]): Promise<number> {
  if (structure === "dense") return 1;
  const asked = structure === "gblr" ? { widths: "lr0.25" } : { flops: 0.4375 };
  const plan = await planConversion(model, { structure, ...asked });
  for await (const _ of convert(model, plan)) {
    // only its end counts
  }
  return plan.counts.after.reference.relative;
}

async function trained(
  model: Gpt2,
  windows: TextWindows,
  { batch, microBatch, steps, folder }: Pick<PhaseRequest, "batch" | "microBatch" | "steps" | "folder">,
) {
  const [rates, losses]: [number[], number[]] = [[], []];
  await rm(folder, { recursive: true, force: true });
  const optimizer = { learningRate: 1e-4, weightDecay: 0.1, clipNorm: 1 };
  const far = { steps: 10 ** 6 };
  const run = fit({
    model,
    task: languageTask({ model, windows, dropout: false }),
    folder,
    length: { steps },
    batch,
    microBatch,
    optimizer,
    seed: 1,
    shrink: meanShrink({ target: 0.25 }),
    evaluation: { every: far, first: false, run: async () => ({}) },
    checkpoint: { every: far, seconds: 10 ** 9 },
  });
  for await (const event of run) {
    if (event.kind !== "step") continue;
    rates.push(event.rate);
    losses.push(event.loss);
    // The checkpoint at the end is a gigabyte and more that nobody asked for.
    if (event.step === steps) break;
  }
  return { rates, losses };
}

async function evaluated(model: Gpt2, windows: TextWindows, { batch, steps }: { batch: number; steps: number }) {
  for await (const event of perplexity(model, { windows, batch, limit: batch * steps })) {
    if (event.kind === "perplexity") return { rates: [event.tokensPerSecond], losses: [event.nll] };
  }
  return { rates: [], losses: [] };
}

function randomWindows({ context, vocabulary }: PhaseRequest["size"], length: number): TextWindows {
  const read = async (i: number) =>
    Int32Array.from({ length: context + 1 }, (_, j) => ((i * 7919 + j * 104729) * 2654435761) % vocabulary);
  return { length, context, stride: context, scored: length * context, read, newTargets: () => context };
}
