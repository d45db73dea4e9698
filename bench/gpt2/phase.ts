// One phase of bench/gpt2.ts in a separate process, so that its peak memory can be measured: a JSON request on stdin, a
// JSON answer on stdout. Weights and tokens are random with a fixed seed, which does not change the cost of a step.

import process from "node:process";
import { text } from "node:stream/consumers";
import type { TextWindows } from "../../workbench/data/index.ts";
import { placeOf } from "../../workbench/distributed/place.ts";
import { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { OpenEngineOptions } from "../../workbench/engine/core/types.ts";
import { perplexity } from "../../workbench/evaluate/perplexity.ts";
import { type Gpt2Config, gpt2, type Model } from "../../workbench/models/index.ts";
import { languageTask } from "../../workbench/train/index.ts";
import { type BenchStructure, converted, type PhaseReport, phaseReport, trained } from "../phases.ts";
import { randomModel } from "../random-weights.ts";

export interface PhaseRequest {
  phase: "evaluate" | "train";
  structure: BenchStructure;
  engine: OpenEngineOptions;
  size: { width: number; blocks: number; heads: number; context: number; vocabulary: number };
  batch: number;
  microBatch: number;
  steps: number;
  /** whether each of several processes keeps a share of the optimizer's state. Default false */
  shard?: boolean;
  /** of the masks of GBLR layers. Default: sharp masks */
  sigma?: number;
  /** a scratch folder */
  folder: string;
}

export interface PhaseAnswer extends PhaseReport {
  relativeFlops: number;
  /** seconds of the conversion; 0 for dense */
  convertSeconds: number;
  /** tokens per second: of each training step, or of the evaluation */
  rates: number[];
  losses: number[];
}

/** A mean width that no layer exceeds. */
const WIDEST = 0.999;

const request = JSON.parse(await text(process.stdin)) as PhaseRequest;
process.stdout.write(JSON.stringify(await run(request)));

async function run({
  phase,
  structure,
  engine: asked,
  size,
  sigma,
  folder,
  ...how
}: PhaseRequest): Promise<PhaseAnswer> {
  const engine = await openEngine(asked);
  const place = placeOf(process.env);
  const ranks = place && (await ProcessGroup.join(place, { device: engine.device }));
  const { width, blocks, heads, context, vocabulary } = size;
  const json = {
    model_type: "gpt2",
    n_embd: width,
    n_layer: blocks,
    n_head: heads,
    n_positions: context,
    vocab_size: vocabulary,
  };
  const noDropout = { embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 };
  const model = randomModel(gpt2, { ...json, ...noDropout });
  if (sigma !== undefined) model.masks.sigma = sigma;
  const cost = await converted(model, structure);
  // Blocks that were found keep their widths, so that all steps cost the same.
  const isFound = structure.startsWith("found");
  const windows = randomWindows(size, 64);
  const task = languageTask({ model, windows, dropout: false });
  const rates =
    phase === "train"
      ? await trained({ model, task, folder, ranks, ...how, ...(isFound && { target: WIDEST }) })
      : await evaluated(model, windows, how);
  return { ...phaseReport(engine), ...cost, ...rates };
}

async function evaluated(
  model: Model<Gpt2Config>,
  windows: TextWindows,
  { batch, steps }: { batch: number; steps: number },
) {
  for await (const event of perplexity(model, { windows, batch, limit: batch * steps })) {
    if (event.kind === "perplexity") return { rates: [event.tokensPerSecond], losses: [event.nll] };
  }
  return { rates: [], losses: [] };
}

function randomWindows({ context, vocabulary }: PhaseRequest["size"], length: number): TextWindows {
  const read = async (i: number) =>
    Int32Array.from({ length: context + 1 }, (_, j) => ((i * 7919 + j * 104729) * 2654435761) % vocabulary);
  return { length, context, stride: context, scored: length * context, leftOut: 0, read, newTargets: () => context };
}
