// Training whose optimizer's state is divided over two and three processes of this machine: the numbers of one process, and
// a share of its memory.

import { describe, expect, test } from "bun:test";
import type { Variable } from "@tensorflow/tfjs-core";
import { buildState } from "../../native/build-state.ts";
import { Owners } from "../../workbench/distributed/owners.ts";
import type { ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { dealtBySize } from "../../workbench/distributed/shares.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import { BLOCKS, HIDDEN, INPUT, OUTPUT } from "../train/small.ts";
import type { TrainAnswer, TrainTask } from "./train-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 240_000;
const at = temporaryFolder();
const answers = workersOf("train-rank.ts");
if (state.state !== "built") console.log("divided optimizers are not tested: the native engine is not built");

/** The answers of all ranks; `size` 0 is one process that is no rank. */
async function trained(folder: string, size: number, task: Partial<TrainTask> = {}): Promise<TrainAnswer[]> {
  const whole: TrainTask = { folder: at(folder), changes: { microBatch: 6 }, timeout: 60, ...task };
  const found = await answers(whole, size);
  for (const answer of found) expect(answer).toHaveProperty("numbers");
  return found as TrainAnswer[];
}

const WAYS: Record<string, Partial<TrainTask>> = {
  "all parameters, whose widths shrink": {},
  "all parameters, whose widths are read every three steps": { changes: { microBatch: 6, shrinkEvery: 3 } },
  adapters: { lora: true },
};

describe.skipIf(state.state !== "built")("training with a divided optimizer", () => {
  test.each(Object.keys(WAYS))(
    "of %s is bit-equal with two to one process",
    async (title) => {
      const way = WAYS[title] as Partial<TrainTask>;
      const [alone] = (await trained(`${title} alone`, 0, way)) as [TrainAnswer];
      const ranks = await trained(`${title} two`, 2, { ...way, shard: true });
      for (const { numbers, losses } of ranks) {
        expect({ numbers, losses }).toEqual({ numbers: alone.numbers, losses: alone.losses });
      }
      expect(await timelessMetrics(at(`${title} two`))).toEqual(await timelessMetrics(at(`${title} alone`)));
    },
    PATIENCE,
  );

  test(
    "is bit-equal with three to three with whole copies, and leaves each its share of the moments alone",
    async () => {
      const changes = { microBatch: 3 };
      const whole = await trained("three whole", 3, { changes, shard: false });
      const shared = await trained("three", 3, { changes, shard: true });
      for (const { numbers, losses } of shared) {
        expect({ numbers, losses }).toEqual({ numbers: whole[0]?.numbers ?? {}, losses: whole[0]?.losses ?? [] });
      }
      // What is kept beside the moments is the same in both.
      const moments = 2 * 4 * SIZES.reduce((sum, size) => sum + size, 0);
      const saved = shared.map(({ bytes }, rank) => (whole[rank]?.bytes as number) - (bytes as number));
      const kept = saved.map((bytes) => moments - bytes);
      expect(kept.reduce((sum, bytes) => sum + bytes, 0)).toBe(moments);
      for (const bytes of kept) expect(bytes).toBeLessThanOrEqual(moments / 3 + 2 * 4 * Math.max(...SIZES));
    },
    PATIENCE,
  );
});

/** Numbers of the trained parameters of the small model. */
const SIZES = [BLOCKS * INPUT, BLOCKS * HIDDEN, 2 * BLOCKS, 2 * BLOCKS, HIDDEN, HIDDEN, OUTPUT * HIDDEN, OUTPUT];

test("variables are dealt by size: the largest first, each to the rank that has least", () => {
  expect(dealtBySize([10, 40, 39, 12, 30], 2)).toEqual([0, 0, 1, 0, 1]);
  expect(dealtBySize([5, 5, 5], 2)).toEqual([0, 1, 0]);
  expect(dealtBySize([], 3)).toEqual([]);
  expect(dealtBySize([1, 1, 1, 1, 1, 1], 2, 0.5)).toEqual([0, 1, 0, 0, 1, 0]);
});

test("no rank owns more than its share and one variable, and each variable has one owner, whatever their order", () => {
  const sizes = Array.from({ length: 60 }, (_, i) => ((i * 7919) % 97) ** 2 + 1);
  const variables = sizes.map((size, i): [string, Variable] => [`layer.${i}`, { size } as Variable]);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  for (const size of [1, 2, 3, 8, 61]) {
    const owners = Array.from({ length: size }, (_, rank) =>
      [variables, variables.toReversed()].map((some) => new Owners({ rank, size } as ProcessGroup, new Map(some))),
    );
    for (const [, variable] of variables) {
      expect(owners.filter(([own]) => own?.isOwn(variable)).length).toBe(1);
      for (const [one, other] of owners) expect(one?.isOwn(variable)).toBe(other?.isOwn(variable) as boolean);
    }
    for (const [own] of owners) {
      const load = variables.reduce((sum, [, each]) => sum + (own?.isOwn(each) ? each.size : 0), 0);
      expect(load).toBeLessThanOrEqual(total / size + Math.max(...sizes));
    }
  }
});
