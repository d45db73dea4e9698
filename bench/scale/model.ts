// A model of the time and the memory of a data-parallel training step, as workbench/train divides it: see docs/scale.md.
// All functions are pure. Times are in seconds, memory in bytes, rates a second.

import { BUCKET_BYTES } from "../../workbench/distributed/flat.ts";
import {
  bodyParameters,
  embeddingParameters,
  flopsPerToken,
  headParameters,
  keptValues,
  parametersOf,
  type Transformer,
} from "./transformers.ts";

/** What one rank and its connection can do. */
export interface Machine {
  /** floating-point operations a second in a training step, as a share of which the peak is reached */
  rate: number;
  /** bytes a second between processor and memory, in the optimizer */
  memory: number;
  /** seconds of a step that do not depend on tokens, for each block */
  perBlock: number;
  /** bytes a second that a rank sends while it receives as many */
  bandwidth: number;
  /** seconds from rank to rank of a message without content */
  latency: number;
  /** seconds of computation lost for each second of exchange that is hidden behind it: 0 if they do not compete */
  contention: number;
}

/** How a step is divided. */
export interface Step {
  /** number of processes */
  ranks: number;
  /** tokens of a rank in a step */
  tokens: number;
  /** whether each rank keeps a share of the moments, as in ZeRO-1. Default false */
  shard?: boolean;
  /** how often a message is passed on before all have the sum: from one to the next, or along a tree. Default `ring` */
  hops?: keyof typeof HOPS;
  /** bytes of a bucket. Default: as of the workbench */
  bucket?: number;
}

/** The times of a step, whose sum is `total`. */
export interface StepTime {
  /** forward and backward pass */
  compute: number;
  /** of the sums of gradients, what is not hidden behind the backward pass */
  exposed: number;
  /** computation lost to the exchange that is hidden */
  slowed: number;
  /** update of parameters; with `shard` also the exchange of new values */
  optimizer: number;
  total: number;
}

/** Bytes of a float32 number, as which parameters, gradients and moments are kept and sent. */
const FLOAT = 4;
/** Bytes of memory that AdamW reads and writes for each parameter: value and moments both ways, the gradient once. */
const UPDATE_BYTES = 7 * FLOAT;
/** Bytes read and written to copy a number, e.g. into a bucket. */
const COPY_BYTES = 2 * FLOAT;
/** Share of a step's computation that is the backward pass. */
const BACKWARD = 2 / 3;
/** Bytes of the first bucket, see workbench/distributed/buckets.ts. */
const FIRST_BUCKET = 2 ** 20;
/** All-reduces of some bytes in a step: which gradients there are, losses, whether to stop. */
const SMALL_MESSAGES = 3;

const HOPS = {
  ring: (ranks: number) => 2 * (ranks - 1),
  tree: (ranks: number) => 2 * Math.ceil(Math.log2(ranks)),
} as const;

/**
 * Seconds of the sum of `bytes` over all ranks: 2 (n − 1)/n · bytes / bandwidth + hops · latency, with 2 (n − 1) hops in
 * a ring. 0 for one rank.
 */
export function allReduceTime(
  bytes: number,
  { ranks, hops = "ring" }: Pick<Step, "ranks" | "hops">,
  { bandwidth, latency }: Pick<Machine, "bandwidth" | "latency">,
): number {
  return ((2 * (ranks - 1)) / ranks) * (bytes / bandwidth) + HOPS[hops](ranks) * latency;
}

/** Seconds of forward and backward pass. */
export const computeTime = (model: Transformer, tokens: number, { rate, perBlock }: Machine): number =>
  (tokens * flopsPerToken(model)) / rate + model.blocks * perBlock;

/** Bytes of each bucket, in the order in which they are sent: that of the backward pass. Embeddings are the last one. */
export function bucketBytes(model: Transformer, bucket: number = BUCKET_BYTES): number[] {
  const body = FLOAT * (headParameters(model) + bodyParameters(model));
  const first = Math.min(FIRST_BUCKET, body);
  const whole = Math.floor((body - first) / bucket);
  const rest = body - first - whole * bucket;
  return [first, ...new Array<number>(whole).fill(bucket), rest, FLOAT * embeddingParameters(model)].filter(
    (bytes) => bytes > 0,
  );
}

/**
 * The sums of gradients: one bucket after the other, each when the backward pass has reached it.
 * @param compute seconds of forward and backward pass
 * @returns seconds of all buckets, and those after the end of the backward pass
 */
export function exchangeTime(
  model: Transformer,
  step: Step,
  machine: Machine,
  compute: number,
): { all: number; exposed: number } {
  if (step.ranks === 1) return { all: 0, exposed: 0 };
  const backward = BACKWARD * compute;
  const buckets = bucketBytes(model, step.bucket);
  const body = buckets.slice(0, -1).reduce((sum, bytes) => sum + bytes, 0);
  let [ready, end, all] = [0, 0, 0];
  for (const [i, bytes] of buckets.entries()) {
    ready = i === buckets.length - 1 ? backward : ready + (backward * bytes) / body;
    const seconds = allReduceTime(bytes, step, machine);
    end = Math.max(end, ready) + seconds;
    all += seconds;
  }
  const small = SMALL_MESSAGES * allReduceTime(0, step, machine);
  return { all: all + small, exposed: end - backward + small };
}

/** Seconds of the update of parameters; with `shard` that of a share, and the exchange of all new values. */
export function optimizerTime(model: Transformer, step: Step, { memory, bandwidth, latency }: Machine): number {
  const { ranks, shard = false, bucket = BUCKET_BYTES } = step;
  const parameters = parametersOf(model);
  if (!shard || ranks === 1) return (UPDATE_BYTES * parameters) / memory;
  const bytes = FLOAT * parameters;
  const rounds = Math.ceil(bytes / bucket);
  const sent = ((ranks - 1) / ranks) * (bytes / bandwidth) + rounds * (HOPS[step.hops ?? "ring"](ranks) / 2) * latency;
  // Own values are packed, those of the others are copied to their place: together each value once.
  return (UPDATE_BYTES * parameters) / ranks / memory + (COPY_BYTES * parameters) / memory + sent;
}

/** The times of a step. */
export function stepTime(model: Transformer, step: Step, machine: Machine): StepTime {
  // Gradients are copied into buckets by the thread that computes.
  const packing = step.ranks === 1 ? 0 : (COPY_BYTES * parametersOf(model)) / machine.memory;
  const compute = computeTime(model, step.tokens, machine) + packing;
  const { all, exposed } = exchangeTime(model, step, machine, compute);
  const slowed = machine.contention * (all - exposed);
  const optimizer = optimizerTime(model, step, machine);
  return { compute, exposed, slowed, optimizer, total: compute + exposed + slowed + optimizer };
}

/** Bytes of numbers that a rank keeps, by kind. */
export interface Precision {
  parameter: number;
  gradient: number;
  /** of AdamW for each parameter: two moments, and a copy of the parameter in float32 if it is kept in another type */
  optimizer: number;
  /** of a value that is kept for the backward pass */
  activation: number;
}

/**
 * Bytes that a rank holds: parameters, gradients, what the optimizer remembers, and what is kept for the backward pass
 * of one micro-batch, in which logits and their gradients are float32.
 * @param step.tokens of a micro-batch
 */
export function memoryOf(
  model: Transformer,
  { ranks, tokens, shard = false }: Pick<Step, "ranks" | "tokens" | "shard">,
  { parameter, gradient, optimizer, activation }: Precision,
): { state: number; activations: number; total: number } {
  const state = parametersOf(model) * (parameter + gradient + optimizer / (shard ? ranks : 1));
  const kept = model.blocks * keptValues(model) * activation + 2 * model.vocabulary * FLOAT;
  return { state, activations: tokens * kept, total: state + tokens * kept };
}
