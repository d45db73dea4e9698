// One rank of tests/distributed/process-group.test.ts. The task is JSON in the first argument; the answer is one line.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { placeOf } from "../../workbench/distributed/place.ts";
import { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { openEngine } from "../../workbench/engine/index.ts";

export interface RankTask {
  what: "collectives" | "sums" | "end" | "wait";
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

try {
  process.stdout.write(`${JSON.stringify(await answerTo(JSON.parse(process.argv[2] as string)))}\n`);
  process.exit(0);
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: (error as Error).message })}\n`);
  process.exit(3);
}
