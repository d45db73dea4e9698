// What the tables of docs/scale.md assume: models, and GPUs by the public figures of their makers. No figure here was
// measured by this project.

import type { Machine, Precision } from "./model.ts";
import type { Transformer } from "./transformers.ts";

/** A model, and how much of its data a step takes. */
export interface Case {
  model: Transformer;
  /** tokens of one GPU in a step, if each GPU that is added brings its own */
  tokens: number;
  /** tokens of all GPUs in a step, if the step stays the same */
  step: number;
  /** share of the peak that products and all else reach together */
  share: number;
}

const VOCABULARIES = { gpt2: 50_257, llama: 128_256 };

const gpt2 = (name: string, blocks: number, width: number): Transformer => ({
  ...{ name, blocks, width, keys: width, inner: 4 * width },
  ...{ vocabulary: VOCABULARIES.gpt2, context: 1024, family: "gpt2" },
});

const llama = (name: string, blocks: number, width: number, inner: number): Transformer => ({
  ...{ name, blocks, width, keys: 1024, inner },
  ...{ vocabulary: VOCABULARIES.llama, context: 4096, family: "llama" },
});

/** The models of the tables: GPT-2 and GPT-2 XL, Llama 3 with windows of 4096 tokens. */
export const CASES: readonly Case[] = [
  { model: gpt2("GPT-2 124 M", 12, 768), tokens: 16_384, step: 2 ** 19, share: 0.3 },
  { model: gpt2("GPT-2 1.5 B", 48, 1600), tokens: 8192, step: 2 ** 20, share: 0.4 },
  { model: llama("Llama 3 8 B", 32, 4096, 14_336), tokens: 8192, step: 2 ** 22, share: 0.4 },
  { model: llama("Llama 3 70 B", 80, 8192, 28_672), tokens: 8192, step: 2 ** 22, share: 0.4 },
];

/** NVIDIA H100 SXM, as in a DGX H100: eight GPUs, and one network adapter for each. */
export const H100 = {
  /** FLOP/s, bfloat16 without sparsity */
  peak: 989e12,
  /** bytes */
  capacity: 80e9,
  /** bytes a second */
  memory: 3.35e12,
  /** bytes a second of NVLink in one direction */
  nvlink: 450e9,
  /** bytes a second of InfiniBand in one direction, for each GPU */
  infiniband: 50e9,
  perMachine: 8,
} as const;

/** Assumed: the share of the figures above that transfers reach. */
const REACHED = 0.8;
/** Assumed: seconds of a message within a machine, and between machines. */
const LATENCIES = { within: 2e-6, between: 5e-6 };
/** Assumed: seconds of a block's kernels to start, beside what they compute. */
const PER_BLOCK = 1e-4;
/** Assumed: computation that each second of exchange takes away, as both use memory and multiprocessors. */
const CONTENTION = 0.1;
/** Assumed: bytes a second and seconds of Gloo over TCP, through the memory of the host. */
const GLOO = { bandwidth: 2.5e9, latency: 50e-6 };

/** GPUs that sum through NVLink within machines and InfiniBand between them, as NCCL does. */
export function gpus(ranks: number, share: number): Machine {
  const { peak, memory, nvlink, infiniband, perMachine } = H100;
  const machines = Math.ceil(ranks / perMachine);
  // Each of eight rings leaves a machine through an adapter of its own, so all adapters carry a share of each sum.
  const slowest = machines === 1 ? nvlink : Math.min(nvlink, perMachine * infiniband);
  const between = machines === 1 ? 0 : machines / ranks;
  return {
    rate: share * peak,
    memory: REACHED * memory,
    perBlock: PER_BLOCK,
    bandwidth: REACHED * slowest,
    latency: between * LATENCIES.between + (1 - between) * LATENCIES.within,
    contention: CONTENTION,
  };
}

/** The same GPUs, whose sums go through Gloo, as those of the workbench do. */
export const gpusOverGloo = (ranks: number, share: number): Machine => ({
  ...gpus(ranks, share),
  ...GLOO,
  contention: 0,
});

/**
 * The workbench with `--precision bfloat16`: all in float32, and a copy of each parameter in bfloat16 for products
 * (docs/engines.md).
 */
export const WORKBENCH: Precision = { parameter: 6, gradient: 4, optimizer: 8, activation: 4 };
/** Mixed precision, as usual elsewhere: bfloat16, and a copy of the parameters in float32 with the optimizer. */
export const MIXED: Precision = { parameter: 2, gradient: 2, optimizer: 12, activation: 2 };
