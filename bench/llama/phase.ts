// One phase of bench/llama.ts in a separate process, so that its peak memory can be measured: a JSON request on stdin, a
// JSON answer on stdout.

import { readFile } from "node:fs/promises";
import process from "node:process";
import { text } from "node:stream/consumers";
import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import type { TextWindows } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { perplexity } from "../../workbench/evaluate/perplexity.ts";
import { generateTokens, loadModel, type Model } from "../../workbench/models/index.ts";
import { languageTask } from "../../workbench/train/index.ts";
import { phaseReport, trained } from "../phases.ts";
import type { PhaseAnswer, PhaseRequest } from "./request.ts";

const PHASES: Record<PhaseRequest["phase"], (model: Model, asked: PhaseRequest) => Promise<Partial<PhaseAnswer>>> = {
  async parity(model, asked) {
    const theirs = await readFile(asked.logits);
    let [at, most] = [0, 0];
    for (const ids of asked.texts) {
      const input = tensor2d(ids, [1, ids.length], "int32") as Tensor2D;
      const ours = (await languageLogits(model, input).data()) as Float32Array;
      const bytes = theirs.buffer.slice(theirs.byteOffset + at, theirs.byteOffset + at + ours.byteLength);
      most = Math.max(most, relativeError(ours, new Float32Array(bytes as ArrayBuffer)));
      at += ours.byteLength;
    }
    return { logitError: most, greedy: await greedy(model, asked), nll: (await evaluated(model, asked)).nll };
  },

  async evaluate(model, asked) {
    // Each batch is an evaluation of its own, so that a median can be taken.
    const seconds: number[] = [];
    for (let start = 0; start < asked.windows.length; start += asked.batch) {
      const rows = asked.windows.slice(start, start + asked.batch);
      seconds.push((await evaluated(model, { ...asked, windows: rows })).seconds / rows.length);
    }
    return { seconds };
  },

  async train(model, { windows: rows, batch, steps, scratch }) {
    const task = languageTask({ model, windows: windowsOf(rows), dropout: false });
    const { rates, losses } = await trained({ model, task, batch, microBatch: batch, steps, folder: scratch });
    const context = (rows[0] as number[]).length - 1;
    return { seconds: rates.map((tokensPerSecond) => context / tokensPerSecond), losses };
  },

  async generate(model, asked) {
    await greedy(model, { ...asked, tokens: 4 });
    const seconds: number[] = [];
    for (let round = 0; round < asked.steps; round++) {
      const began = performance.now();
      await greedy(model, asked);
      seconds.push((performance.now() - began) / 1000 / asked.tokens);
    }
    return { seconds };
  },
};

const request = JSON.parse(await text(process.stdin)) as PhaseRequest;
process.stdout.write(JSON.stringify(await run(request)));

async function run(asked: PhaseRequest): Promise<PhaseAnswer> {
  const engine = await openEngine({ engine: asked.engine, threads: asked.threads });
  const model = await loaded(asked.folder);
  const answer = await PHASES[asked.phase](model, asked);
  return { ...phaseReport(engine), version: `${engine.name}, ${engine.version}`, ...answer };
}

async function loaded(folder: string): Promise<Model> {
  for await (const event of loadModel(folder)) if (event.kind === "loaded") return event.model;
  throw new Error(`${folder} was not loaded to its end`);
}

/** ‖ours - theirs‖ / ‖theirs‖, in float64. */
function relativeError(ours: Float32Array, theirs: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (const [i, value] of theirs.entries()) {
    difference += ((ours[i] as number) - value) ** 2;
    norm += value ** 2;
  }
  return Math.sqrt(difference / norm);
}

async function greedy(model: Model, { prompt, tokens }: PhaseRequest): Promise<number[]> {
  const ids: number[] = [];
  for await (const event of generateTokens(model, prompt, { tokens, temperature: 0, endOfText: [] })) {
    if (event.kind === "token") ids.push(event.id);
  }
  return ids;
}

async function evaluated(model: Model, { windows, batch }: PhaseRequest): Promise<{ nll: number; seconds: number }> {
  for await (const event of perplexity(model, { windows: windowsOf(windows), batch })) {
    if (event.kind === "perplexity") return event;
  }
  throw new Error("the evaluation ended early");
}

function windowsOf(rows: readonly number[][]): TextWindows {
  const context = (rows[0] as number[]).length - 1;
  const read = async (i: number) => Int32Array.from(rows[i % rows.length] as number[]);
  const { length } = rows;
  return { length, context, stride: context, scored: length * context, leftOut: 0, read, newTargets: () => context };
}
