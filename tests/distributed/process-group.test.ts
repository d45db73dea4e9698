// Process groups of two and three processes on this machine: collectives against sums in float64, and what a rank says
// when another one ends, is silent, or never comes.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { buildState } from "../../native/build-state.ts";
import { type Backend, reasonAgainstNccl } from "../../workbench/distributed/process-group.ts";
import { loadAddon } from "../../workbench/engine/backends/torch/addon.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import type { RankTask } from "./rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 120_000;
if (state.state !== "built") console.log("process groups are not tested: the native engine is not built");
const addon = state.state === "built" ? loadAddon().addon : undefined;
const hasNccl = addon?.hasNccl() === true;
const gpus = hasNccl ? (addon?.cudaDevices().length ?? 0) : 0;
if (gpus === 0)
  console.log(`NCCL is not tested: ${hasNccl ? "there is no GPU" : "the native engine is built without it"}`);

const workers = workersOf("rank.ts");
const answers = (task: RankTask, size: number, started = size) => workers(task, size, { started });

describe.skipIf(state.state !== "built")("a process group", () => {
  const collectives = (size: number, backend: Backend = "gloo"): unknown[] => {
    const ranks = Array.from({ length: size }, (_, rank) => rank);
    const sum = ranks.reduce((a, b) => a + b, 0);
    const expected = [
      backend,
      [sum + size, 10 * size],
      [sum],
      [size - 1, 0],
      [42],
      ranks.flatMap((rank) => [rank, rank ** 2]),
    ];
    // Row r of rank k is [r, 10 k + r, -k].
    return ranks.map((row) => [...expected, [size * row, 10 * sum + size * row, 0 - sum], [row, row, 1 - size]]);
  };

  test.each([2, 3])(
    "of %p reduces, broadcasts, gathers and scatters tensors",
    async (size) => {
      const expected = collectives(size);
      expect(await answers({ what: "collectives", timeout: 60, backend: "gloo" }, size)).toEqual(expected);
    },
    PATIENCE,
  );

  test.skipIf(gpus === 0)(
    "on GPUs does so through NCCL",
    async () => {
      const size = Math.min(gpus, 2);
      expect(await answers({ what: "collectives", timeout: 60, onGpus: true }, size)).toEqual(
        collectives(size, "nccl"),
      );
    },
    PATIENCE,
  );

  test("uses NCCL only if every rank has a GPU that no other one has", () => {
    expect(reasonAgainstNccl([{ gpu: "a" }, { gpu: "b" }, { gpu: "c" }])).toBeUndefined();
    expect(reasonAgainstNccl([{ gpu: "a" }, { gpu: "b" }, { gpu: "a" }])).toBe("ranks 0 and 2 of 3 have the same GPU");
    expect(reasonAgainstNccl([{ gpu: "a" }, { lacks: "computes on the CPU" }])).toBe("rank 1 of 2 computes on the CPU");
  });

  test.skipIf(gpus > 0)(
    "says which rank cannot use NCCL when it is asked for",
    async () => {
      const why = hasNccl ? "computes on the CPU" : "is built without NCCL";
      const error = `NCCL cannot be used: rank 0 of 2 ${why}; give each process a GPU of its own and a build with NCCL (docs/distributed.md), or set GBLR_RANKS_BACKEND=gloo`;
      const found = await answers({ what: "collectives", timeout: 60, backend: "nccl" }, 2);
      expect(found).toEqual([{ error }, { error }]);
    },
    PATIENCE,
  );

  test(
    "gathers texts of different lengths, also an empty one",
    async () => {
      const texts = [
        ["", "ä".repeat(7), "ä".repeat(14)],
        ["0 🦆", "1 🦆", "2 🦆"],
      ];
      expect(await answers({ what: "texts", timeout: 60 }, 3)).toEqual([texts, texts, texts]);
    },
    PATIENCE,
  );

  test(
    "adds numbers of two ranks exactly as one process does, and those of three alike on all ranks",
    async () => {
      await openEngine({ engine: "torch" });
      const of = (rank: number) => Array.from(tf.randomNormal([1000], 0, 1, "float32", 7 + rank).dataSync());
      const [a, b, c] = [of(0), of(1), of(2)] as [number[], number[], number[]];
      const two = (await answers({ what: "sums", timeout: 60 }, 2)) as number[][];
      const pair = a.map((x, i) => Math.fround(x + (b[i] as number)));
      expect(two).toEqual([pair, pair]);
      const three = (await answers({ what: "sums", timeout: 60 }, 3)) as [number[], number[], number[]];
      expect(three[1]).toEqual(three[0]);
      expect(three[2]).toEqual(three[0]);
      const furthest = Math.max(
        ...three[0].map((x, i) => Math.abs(x - ((a[i] as number) + (b[i] as number) + (c[i] as number)))),
      );
      expect(furthest).toBeLessThan(1e-6);
    },
    PATIENCE,
  );

  test(
    "sums gradients in buckets, also those that a rank has not, and gives them in the order of their variables",
    async () => {
      const expected = [
        ["large", 6, 6],
        ["middle", 60, 60],
        ["some", 14, 14],
      ];
      expect(await answers({ what: "gradients", timeout: 60 }, 3)).toEqual([expected, expected, expected]);
    },
    PATIENCE,
  );

  test.each([2, 3])(
    "of %p exchanges the variables of their owners, bit by bit, in several rounds",
    async (size) => {
      const ranks = (await answers({ what: "exchange", timeout: 60 }, size)) as {
        owned: number[];
        ends: number[][];
        bits: number[];
      }[];
      const ownerOf = (i: number) => ranks.findIndex(({ owned }) => owned.includes(i));
      const bits = [...new Int32Array(Float32Array.of(-0, 1e-42, 3.4028234663852886e38, 1 / 3).buffer)];
      for (const [rank, answer] of ranks.entries()) {
        const exchanged = Array.from({ length: 8 }, (_, i) => [ownerOf(i) + 1, ownerOf(i) + 1]);
        expect(answer.ends).toEqual([...exchanged, [rank + 1, rank + 1]]);
        expect(answer.bits).toEqual(bits);
      }
      expect(ranks.flatMap(({ owned }) => owned).sort((a, b) => a - b)).toEqual([...Array(10).keys()]);
    },
    PATIENCE,
  );

  test(
    "gives up after its timeout when a rank is silent",
    async () => {
      // Ranks that have met before meet again within it, on a busy machine too.
      const [first] = await answers({ what: "wait", timeout: 5 }, 2);
      expect(first).toEqual({
        error:
          "rank 0 of 2: allReduce in step 3 failed: another rank did not answer within 5 s; see the output of the other ranks for the first error",
      });
    },
    PATIENCE,
  );

  test(
    "ends on all ranks with one line when one of them is killed",
    async () => {
      const [first, second, killed] = await answers({ what: "end", timeout: 30 }, 3);
      expect(killed).toEqual({ ended: "SIGKILL" });
      const line = (rank: number) =>
        `rank ${rank} of 3: allReduce in step 3 failed: another rank has ended; see the output of the other ranks for the first error`;
      expect([first, second]).toEqual([{ error: line(0) }, { error: line(1) }]);
    },
    PATIENCE,
  );

  test(
    "says where ranks were to meet when some never come",
    async () => {
      const [first] = (await answers({ what: "collectives", timeout: 4 }, 2, 1)) as [{ error: string }];
      expect(first.error).toMatch(
        /^rank 0 of 2 did not meet the others at 127\.0\.0\.1:\d+ within 4 s: .*; see that all ranks run, and that this address is reachable$/,
      );
    },
    PATIENCE,
  );
});
