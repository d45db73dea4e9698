// One rank of tests/distributed/process-group.test.ts. The task is JSON in the first argument; the answer is one line.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { GradientBuckets } from "../../workbench/distributed/buckets.ts";
import { placeOf } from "../../workbench/distributed/place.ts";
import { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { reply } from "./start.ts";

export interface RankTask {
  what: "collectives" | "texts" | "sums" | "gradients" | "end" | "wait";
  timeout: number;
}

const values = (tensor: tf.Tensor) => Array.from(tensor.dataSync());

async function answerTo({ what, timeout }: RankTask): Promise<unknown> {
  await openEngine({ engine: "torch", threads: 1 });
  const place = placeOf(process.env);
  if (!place) throw new Error("the environment has no rank");
  const group = await ProcessGroup.join(place, { timeout });
  const { rank, size } = group;
  if (what === "sums") {
    const of = tf.randomNormal([1000], 0, 1, "float32", 7 + rank);
    await group.allReduce([of]);
    return values(of);
  }
  if (what === "texts") return [await group.gather("ä".repeat(7 * rank)), await group.gather(`${rank} 🦆`)];
  if (what === "gradients") return summedGradients(group);
  if (what === "collectives") {
    const [a, b] = [tf.tensor1d([rank + 1, 10]), tf.tensor2d([[rank]])];
    await group.allReduce([a, b]);
    const largest = tf.tensor1d([rank, -rank]);
    await group.allReduce([largest], "max");
    const told = tf.tensor1d([rank === 1 ? 42 : 0]);
    await group.broadcast(told, 1);
    const gathered = tf.zeros([size, 2]);
    await group.allGather(tf.tensor1d([rank, rank * rank]), gathered);
    await group.barrier();
    return [a, b, largest, told, gathered].map(values);
  }
  await group.barrier();
  group.during = "step 3";
  // The last rank ends without a word, or is so slow that the others give up.
  if (rank === size - 1 && what === "end") process.kill(process.pid, "SIGKILL");
  if (rank === size - 1) await new Promise((done) => setTimeout(done, 1000 * (timeout + 8)));
  await group.allReduce([tf.ones([4])]);
  return "went on";
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

await reply(answerTo);
