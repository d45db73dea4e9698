// Process groups of two and three processes on this machine: collectives against sums in float64, and what a rank says
// when another one ends, is silent, or never comes.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { buildState } from "../../native/build-state.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import type { RankTask } from "./rank.ts";
import { answers as answersOf } from "./start.ts";

const state = buildState();
const PATIENCE = 120_000;
if (state.state !== "built") console.log("process groups are not tested: the native engine is not built");

/** The answers of rank.ts. */
const answers = (task: RankTask, size: number, started = size) => answersOf("rank.ts", task, size, { started });

describe.skipIf(state.state !== "built")("a process group", () => {
  test.each([2, 3])(
    "of %p reduces, broadcasts and gathers tensors in place",
    async (size) => {
      const ranks = Array.from({ length: size }, (_, rank) => rank);
      const sum = ranks.reduce((a, b) => a + b, 0);
      const expected = [
        [sum + size, 10 * size],
        [sum],
        [size - 1, 0],
        [42],
        ranks.flatMap((rank) => [rank, rank ** 2]),
      ];
      expect(await answers({ what: "collectives", timeout: 60 }, size)).toEqual(ranks.map(() => expected));
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
    "gives up after its timeout when a rank is silent",
    async () => {
      const [first] = await answers({ what: "wait", timeout: 5 }, 2);
      expect(first).toEqual({
        error:
          "rank 0 of 2: allReduce in step 3 failed: another rank did not answer within 5 s; see the output of the other ranks for the first error",
      });
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
