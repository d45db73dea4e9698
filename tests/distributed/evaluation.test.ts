// Evaluation that is shared by two and three processes of this machine: the same numbers as of one process, and what all
// say when one of them fails or stops.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildState } from "../../native/build-state.ts";
import { madeImages } from "../data/images/made-images.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import type { EvaluateTask } from "./evaluate-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 120_000;
const at = temporaryFolder();
const answers: (task: EvaluateTask, size: number) => Promise<unknown[]> = workersOf("evaluate-rank.ts");
if (state.state !== "built") console.log("shared evaluation is not tested: the native engine is not built");

describe.skipIf(state.state !== "built")("evaluation over processes", () => {
  test(
    "has the perplexity of one process, bit by bit, whatever the number of windows and their batches",
    async () => {
      const task: EvaluateTask = { what: "texts" };
      const [alone] = await answers(task, 0);
      expect(alone).toBeArrayOfSize(5);
      for (const size of [2, 3]) expect(await answers(task, size)).toEqual(Array(size).fill(alone));
    },
    PATIENCE,
  );

  test(
    "has the accuracy of one process, bit by bit, and counts images that cannot be decoded once",
    async () => {
      const dataset = at("images");
      await madeImages(dataset, { count: 21, classes: 5 });
      for (const name of ["class-002/0007.png", "class-001/0016.png"])
        writeFileSync(join(dataset, "train", name), "no image");
      const task: EvaluateTask = { what: "images", dataset };
      const [alone] = (await answers(task, 0)) as [{ images: number; skipped: number; confusion: object }[]];
      expect(alone[0]).toMatchObject({ images: 19, skipped: 2 });
      for (const size of [2, 3]) expect(await answers(task, size)).toEqual(Array(size).fill(alone));
    },
    PATIENCE,
  );

  test(
    "has the forms of layers that the first process has timed, on all",
    async () => {
      // Times of two processes are never equal, so that these are those of one.
      const [[first], [second]] = (await answers({ what: "forms" }, 2)) as [[object], [object]];
      expect(Object.keys(first).length).toBe(1);
      expect(second).toEqual(first);
    },
    PATIENCE,
  );

  test(
    "fails on all with the reason of the one that failed",
    async () => {
      const [alone] = (await answers({ what: "text", token: 40 }, 0)) as [{ error: string }];
      expect(alone.error).toStartWith("window 4 has token id 40, but the vocabulary of the model has 40 tokens");
      // The fifth window is that of the first of two and of the second of three processes.
      const ends = (rank: number, size: number, failed: number) => ({
        error: `rank ${rank} of ${size} ends, because rank ${failed} has failed; ${alone.error}`,
      });
      expect(await answers({ what: "text", token: 40 }, 2)).toEqual([alone, ends(1, 2, 0)]);
      expect(await answers({ what: "text", token: 40 }, 3)).toEqual([ends(0, 3, 1), alone, ends(2, 3, 1)]);
    },
    PATIENCE,
  );

  test(
    "ends on all when one is stopped",
    async () => {
      const [first, stopped] = await answers({ what: "texts", stopped: 1 }, 2);
      expect(stopped).toEqual({ error: "The operation was aborted." });
      expect(first).toEqual({ error: "rank 0 of 2 ends, because rank 1 was stopped" });
    },
    PATIENCE,
  );
});
