// One rank of tests/distributed/process-group.test.ts and hosts.slow.test.ts. See reply.ts.

import { appendFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import * as tf from "@tensorflow/tfjs-core";
import { GradientBuckets } from "../../workbench/distributed/buckets.ts";
import { Owners } from "../../workbench/distributed/owners.ts";
import type { Backend, ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { join, reply } from "./reply.ts";
import { STEPS } from "./start.ts";

export interface RankTask {
  what: "collectives" | "texts" | "sums" | "gradients" | "exchange" | "steps" | "told" | "end" | "wait";
  timeout: number;
  /** default: Gloo on CPUs, NCCL on GPUs */
  backend?: Backend;
  /** whether each rank has a GPU */
  onGpus?: boolean;
  /** file whose size is the number of steps that rank 0 has made; told: 1 when the last rank listens */
  progress?: string;
}

/** Bytes of a sum. */
const BYTES = 4e6;

const values = (tensor: tf.Tensor) => Array.from(tensor.dataSync());

async function answerTo({ what, timeout, progress, backend, onGpus = false }: RankTask): Promise<unknown> {
  const engine = await openEngine({
    engine: "torch",
    threads: 1,
    device: onGpus ? `cuda:${process.env.LOCAL_RANK}` : "cpu",
  });
  const group = await join(timeout, { ...(backend && { backend }), device: engine.device });
  if (!group) throw new Error("the environment has no rank");
  const { rank, size } = group;
  if (what === "sums") {
    const of = tf.randomNormal([1000], 0, 1, "float32", 7 + rank);
    await group.allReduce([of]);
    return values(of);
  }
  if (what === "texts") return [await group.gather("ä".repeat(7 * rank)), await group.gather(`${rank} 🦆`)];
  if (what === "gradients") return summedGradients(group);
  if (what === "told") return told(group, progress);
  if (what === "steps") return steps(group, progress);
  if (what === "exchange") return exchanged(group);
  if (what === "collectives") {
    const [a, b] = [tf.tensor1d([rank + 1, 10]), tf.tensor2d([[rank]])];
    await group.allReduce([a, b]);
    const largest = tf.tensor1d([rank, -rank]);
    await group.allReduce([largest], "max");
    const told = tf.tensor1d([rank === size - 1 ? 42 : 0]);
    await group.broadcast(told, size - 1);
    const gathered = tf.zeros([size, 2]);
    await group.allGather(tf.tensor1d([rank, rank * rank]), gathered);
    const rows = tf.tensor2d(Array.from({ length: size }, (_, row) => [row, 10 * rank + row, -rank]));
    const [own, least] = [tf.zeros([3]), tf.zeros([3])];
    await group.reduceScatter(rows, own);
    await group.reduceScatter(rows, least, "min");
    await group.barrier();
    return [group.backend, ...[a, b, largest, told, gathered, own, least].map(values)];
  }
  await group.barrier();
  group.during = "step 3";
  // The last rank ends without a word, or is so slow that the others give up.
  if (rank === size - 1 && what === "end") process.kill(process.pid, "SIGKILL");
  if (rank === size - 1) await setTimeout(1000 * (timeout + 8));
  await group.allReduce([tf.ones([4])]);
  return "went on";
}

/** Sums as in training, one after the other. @returns a number of each sum */
async function steps(group: ProcessGroup, progress = ""): Promise<number[]> {
  const sums: number[] = [];
  for (let step = 1; step <= STEPS; step++) {
    group.during = `step ${step}`;
    const of = tf.fill([BYTES / 4], step * (group.rank + 1));
    await group.allReduce([of]);
    sums.push((await of.slice(0, 1).data())[0] as number);
    of.dispose();
    if (group.rank === 0) await appendFile(progress, ".");
    await setTimeout(50);
  }
  return sums;
}

/** The last rank hears what the first one says after some seconds, through their meeting point. */
async function told(group: ProcessGroup, progress = ""): Promise<string> {
  group.during = "a talk";
  if (group.rank > 0) {
    await appendFile(progress, ".");
    return group.told();
  }
  await setTimeout(4000);
  await group.tell("news");
  await setTimeout(2000);
  return "said";
}

/** Names, least and largest numbers of gradients that need three buckets, of which one is missing on the last rank. */
async function summedGradients(group: ProcessGroup): Promise<unknown> {
  const sizes = { large: 7_000_000, middle: 300_000, some: 10, none: 5 };
  const variables = new Map(Object.entries(sizes).map(([name, size]) => [name, tf.variable(tf.zeros([size]))]));
  const buckets = new GradientBuckets(group, [...variables.values()]);
  const take = (name: keyof typeof sizes, value: number) =>
    buckets.take(variables.get(name) as tf.Variable, tf.fill([sizes[name]], value));
  take("middle", 10 * (group.rank + 1));
  take("large", group.rank + 1);
  if (group.rank < group.size - 1) take("some", 7);
  const sums = await buckets.sums();
  const names = new Map([...variables].map(([name, variable]) => [variable, name]));
  return [...sums].map(([variable, sum]) => [
    names.get(variable),
    ...[tf.min(sum), tf.max(sum)].map((end) => end.dataSync()[0]),
  ]);
}

/** Numbers that an exchange must keep bit by bit: -0, a denormal number, the largest one. */
const SPECIAL = [-0, 1e-42, 3.4028234663852886e38, 1 / 3];

/**
 * The variables that this rank owns, and least and largest numbers of each after an exchange that needs several rounds,
 * before which the numbers of a rank are its own. Of the last but one the bits, and the last one is not exchanged.
 */
async function exchanged(group: ProcessGroup): Promise<{ owned: number[]; ends: number[][]; bits: number[] }> {
  const sizes = [3_000_000, 1_500_000, 1_500_000, 1_000_000, 1_000_000, 300_000, 10, 5];
  const variables = sizes.map((size) => tf.variable(tf.fill([size], group.rank + 1)));
  const special = tf.variable(tf.zeros([SPECIAL.length]));
  const left = tf.variable(tf.fill([2, 2], group.rank + 1));
  const all = [...variables, special, left];
  const owners = new Owners(group, new Map(all.map((variable, i) => [`${i}`, variable])));
  if (owners.isOwn(special)) special.assign(tf.tensor1d(SPECIAL));
  await owners.exchange(all.slice(0, -1));
  const ends = [...variables, left].map((variable) =>
    [tf.min(variable), tf.max(variable)].map((end) => end.dataSync()[0]),
  );
  return {
    owned: all.flatMap((variable, i) => (owners.isOwn(variable) ? [i] : [])),
    ends: ends as number[][],
    bits: [...new Int32Array(Float32Array.from(special.dataSync()).buffer)],
  };
}

await reply(answerTo);
