// A run folder as a recipe would leave it, of any length and size, from a seed: curves that fall, widths that shrink,
// blocks in a packed model. For the tests of reports; no number in it was measured.

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { type StoredTensor, writeSafetensors } from "../../hub/safetensors/index.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import {
  type ComparisonRow,
  startRun,
  updateRun,
  writeComparison,
  writeConversion,
} from "../../workbench/report/index.ts";
import type { Metrics } from "../../workbench/train/metrics.ts";

export interface Example {
  steps: number;
  depth: number;
  width: number;
  /** blocks of each layer */
  blocks: number;
}

export const SMALL: Example = { steps: 120, depth: 2, width: 48, blocks: 24 };

/** Pseudo-random numbers in [0, 1), the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export const facts = (settings: Record<string, string | number | boolean> = {}) => ({
  name: "gpt2-mini at 43.75 %",
  recipe: "gpt2-wt103",
  command: "bun run recipes/gpt2-wt103.ts --model gblr/gpt2-mini --dataset gblr/wikitext-mini",
  task: "text-generation" as const,
  settings: { structure: "gblr", budget: 0.4375, epochs: 10, "learning-rate": 1.5e-3, ...settings },
  versions: { gblr: "0.1.0", runtime: "Bun 1.4.5", tfjs: "4.22.0", libtorch: "2.9.0" },
  engine: "torch",
  device: "cpu",
  precision: "float32",
  seed: 1111,
  model: { name: "gblr/gpt2-mini", revision: "0123456789abcdef0123456789abcdef01234567" },
  dataset: { name: "gblr/wikitext-mini", config: "wikitext-mini-v1" },
  targetCost: 0.4375,
  steps: 1000,
});

export function row(name: string, stage: "before" | "after", perplexity: number): ComparisonRow {
  const structure = name === "dense" ? "dense" : (name.split(",")[0] as string);
  const share = structure === "dense" ? 1 : 0.4375;
  return {
    name,
    structure,
    stage,
    metrics: { perplexity, nll: Math.log(perplexity) },
    relativeFlops: { reference: share, actual: share + (share < 1 ? 0.031 : 0) },
    parameters: Math.round(12_300_000 * (0.7 + 0.3 * share)),
    fileBytes: Math.round(49_200_000 * (0.7 + 0.3 * share)),
    seconds: structure === "dense" ? 0 : 431.7,
  };
}

export const ROWS: ComparisonRow[] = [
  row("dense", "before", 890.61),
  row("lowrank", "before", 4120.4),
  row("lowrank", "after", 969.2),
  row("monarch", "before", 8912.3),
  row("monarch", "after", 1201.44),
  row("gblr, SVD", "before", 3802.9),
  row("gblr, SVD", "after", 921.77),
  row("gblr, activation-aware", "before", 2012.55),
  row("gblr, activation-aware", "after", 902.06),
];

const KINDS = ["attn.c_attn", "mlp.c_fc", "mlp.c_proj"];
const layerNames = (depth: number) =>
  Array.from({ length: depth }, (_, i) => KINDS.map((kind) => `h.${i}.${kind}`)).flat();

export function metricLines({ steps, depth, width, blocks }: Example): Metrics[] {
  const random = randomFrom(7);
  const lines: Metrics[] = [];
  for (let step = 1; step <= steps; step++) {
    const done = step / steps;
    const at = { step, epoch: 10 * done, seconds: 2.5 * step };
    const cost = 0.4375 + 0.5 * Math.exp(-6 * done);
    const curve = 6.7 + 2.4 * Math.exp(-9 * done);
    lines.push({
      kind: "step",
      ...at,
      loss: curve + 0.25 * (random() - 0.5),
      learningRate: 1.5e-3 * Math.min(10 * done, (1 - done) / 0.9),
      gradientNorm: 0.6 + random() * 0.5,
      rate: 2100 + 300 * random(),
      sigma: 1 + 99 * done,
      meanWidth: cost * 0.9,
      relativeCost: cost,
    });
    if (step % Math.ceil(steps / 20) === 0) {
      const nll = curve + 0.05;
      lines.push({ kind: "evaluation", ...at, split: "validation", values: { perplexity: Math.exp(nll), nll } });
      const layers = Object.fromEntries(
        layerNames(depth).map((name, i) => {
          const [across, down] = [cost * (0.5 + ((i * 7) % 10) / 10), cost * (0.6 + ((i * 3) % 8) / 12)];
          const size = { live: blocks - Math.floor((blocks / 3) * done), cost: width * width * 3 * cost };
          return [name, { ...size, meanWidthIn: Math.min(1, across), meanWidthOut: Math.min(1, down) }];
        }),
      );
      lines.push({ kind: "structure", ...at, layers, relativeFlops: { reference: cost, actual: cost + 0.03 } });
    }
  }
  return lines;
}

/** Writes model/: packed layers, values all zero. */
export async function writeModelFolder(folder: string, { depth, width, blocks }: Example): Promise<void> {
  await mkdir(folder, { recursive: true });
  const random = randomFrom(11);
  const tensors = new Map<string, StoredTensor>();
  const layers: Record<string, object> = {};
  for (const name of layerNames(depth)) {
    const nIn = name.endsWith("c_proj") ? 4 * width : width;
    const nOut = name.endsWith("c_proj") ? width : name.endsWith("c_fc") ? 4 * width : 3 * width;
    const sides = (n: number) => Array.from({ length: blocks }, () => 2 + Math.floor(random() ** 3 * (n - 3)));
    const starts = (n: number) => Array.from({ length: blocks }, () => Math.floor(random() * n));
    const [lengthIn, lengthOut] = [sides(nIn), sides(nOut)];
    const spans = Int32Array.from([...starts(nIn), ...lengthIn, ...starts(nOut), ...lengthOut]);
    const values = (lengths: number[]): StoredTensor => {
      const count = lengths.reduce((sum, length) => sum + length, 0);
      return { dtype: "F32", shape: [count], data: new Float32Array(count) };
    };
    tensors.set(`${name}.spans`, { dtype: "I32", shape: [4, blocks], data: spans });
    tensors.set(`${name}.values_in`, values(lengthIn));
    tensors.set(`${name}.values_out`, values(lengthOut));
    layers[name] = { n_in: nIn, n_out: nOut, blocks: blocks + 8 };
  }
  await writeSafetensors(path.join(folder, "model.safetensors"), sourcesOf(tensors));
  const gblr = { format: 1, structure: "gblr", layers };
  await writeFile(path.join(folder, "config.json"), JSON.stringify({ model_type: "gpt2", gblr }));
}

/** The whole folder of a finished run. */
export async function writeExampleRun(folder: string, example: Example = SMALL): Promise<void> {
  await startRun(folder, facts());
  const lines = metricLines(example).map((line) => `${JSON.stringify(line)}\n`);
  await writeFile(path.join(folder, "metrics.jsonl"), lines.join(""));
  await writeComparison(folder, ROWS);
  await writeConversion(
    folder,
    layerNames(example.depth).map((layer, i) => ({
      layer,
      structure: "gblr",
      nIn: example.width,
      nOut: example.width,
      costBefore: 3 * example.width ** 2,
      costAfter: 3 * 0.4375 * example.width ** 2,
      relativeError: 0.3 + 0.01 * i,
    })),
  );
  await writeModelFolder(path.join(folder, "model"), example);
  await updateRun(folder, { status: "finished" });
}
