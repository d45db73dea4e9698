// Checkpoints that several processes write together: what is in their files, how runs go on from them with another number of
// processes, and what all say when a part is missing or cannot be written.

import { beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { buildState } from "../../native/build-state.ts";
import { findCheckpoint } from "../../workbench/train/checkpoint.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import type { TrainAnswer, TrainTask } from "./train-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 240_000;
const at = temporaryFolder();
const answers = workersOf("train-rank.ts");
if (state.state !== "built") console.log("checkpoints of processes are not tested: the native engine is not built");

type Answer = TrainAnswer | { error: string };

/** The answers of all ranks; `size` 0 is one process that is no rank. */
async function answered(
  folder: string,
  size: number,
  { full, ...task }: Partial<TrainTask> & { full?: number } = {},
): Promise<Answer[]> {
  const whole: TrainTask = { folder: at(folder), changes: { microBatch: 6 }, timeout: 60, ...task };
  return (await answers(whole, size, full === undefined ? {} : { full })) as Answer[];
}

async function trained(...args: Parameters<typeof answered>): Promise<TrainAnswer[]> {
  const found = await answered(...args);
  for (const answer of found) expect(answer).toHaveProperty("numbers");
  return found as TrainAnswer[];
}

const errorsOf = (found: Answer[]): string[] => found.map((answer) => ("error" in answer ? answer.error : "none"));

const filesOf = (folder: string): string[] => readdirSync(join(at(folder), "checkpoint")).sort();
const pathOf = (folder: string, file: string): string => join(at(folder), "checkpoint", file);
const nameOf = (step: number, kind: string) => `step-${String(step).padStart(10, "0")}.${kind}`;
const shardOf = (step: number, rank: number, size = 2) =>
  nameOf(step, `optimizer-0000${rank + 1}-of-0000${size}.safetensors`);

/** Stops after step 9, with checkpoints of steps 8 and 9. */
const stopsAt9 = { rank: 0, stopped: 9 };
let alone: TrainAnswer;

describe.skipIf(state.state !== "built")("a checkpoint of processes", () => {
  beforeAll(async () => {
    [alone] = (await trained("alone", 0)) as [TrainAnswer];
    await trained("one", 0, { stopped: 9 });
    await trained("two", 2, { ...stopsAt9, shard: true });
    await trained("two whole", 2, stopsAt9);
    await trained("three", 3, { ...stopsAt9, shard: true });
  }, PATIENCE);

  test("has the parameters in one file, and in one of each rank the moments that it owns: those of one process", async () => {
    const expected = await readSafetensors(pathOf("one", nameOf(9, "safetensors")));
    expect(filesOf("one")).toEqual([8, 9].flatMap((step) => [nameOf(step, "json"), nameOf(step, "safetensors")]));
    for (const [folder, size] of [
      ["two", 2],
      ["two whole", 2],
      ["three", 3],
    ] as const) {
      const shards = Array.from({ length: size }, (_, rank) => shardOf(9, rank, size));
      const own = [nameOf(9, "safetensors"), ...shards];
      expect(filesOf(folder).filter((file) => file.includes("009."))).toEqual([nameOf(9, "json"), ...own].sort());
      const json = JSON.parse(readFileSync(pathOf(folder, nameOf(9, "json")), "utf8"));
      expect(json.version).toBe(2);
      const ranks = [0, ...Array(size).keys()];
      expect(json.tensors).toMatchObject(own.map((file, i) => ({ file, rank: ranks[i] })));
      const parts = await Promise.all(own.map((file) => readSafetensors(pathOf(folder, file))));
      expect([...(parts[0]?.keys() ?? [])].filter((name) => !name.startsWith("parameter/"))).toEqual([]);
      for (const part of parts) expect(part.size).toBeGreaterThan(0);
      // Each tensor is in one file, and has the bytes that one process wrote.
      const all = parts.flatMap((part) => [...part]).sort(([a], [b]) => (a < b ? -1 : 1));
      expect(all).toEqual([...expected].sort(([a], [b]) => (a < b ? -1 : 1)));
    }
  });

  const CHANGES: [from: string, size: number, task: Partial<TrainTask>][] = [
    ["one", 2, { shard: true }],
    ["two", 0, {}],
    ["two", 3, { shard: true }],
    ["three", 2, { shard: true }],
    ["two", 2, {}],
    ["two whole", 2, { shard: true }],
  ];
  test.each(CHANGES)(
    "of %s goes on over %p (0: one process alone) with %j to the numbers of one process",
    async (from, size, task) => {
      const folder = `${from} to ${size} ${task.shard}`;
      await cp(at(from), at(folder), { recursive: true });
      for (const { events, numbers } of await trained(folder, size, task)) {
        expect(events[0]).toBe("resumed 9");
        expect(numbers).toEqual(alone.numbers);
      }
      expect(await timelessMetrics(at(folder))).toEqual(await timelessMetrics(at("alone")));
      const each = size === 0 ? 2 : 2 + size;
      expect(filesOf(folder).length).toBe(2 * each);
    },
    PATIENCE,
  );

  const SHARD = shardOf(9, 1);
  const DAMAGES: [string, (folder: string) => void, string][] = [
    ["missing", (folder) => rmSync(pathOf(folder, SHARD)), `its tensors of rank 1 in ${SHARD} are missing`],
    [
      "cut short",
      (folder) => truncateSync(pathOf(folder, SHARD), 500),
      `its tensors of rank 1 in ${SHARD} have 500 bytes, expected `,
    ],
    [
      "that of another step",
      (folder) => copyFileSync(pathOf(folder, shardOf(8, 1)), pathOf(folder, SHARD)),
      `its tensors of rank 1 in ${SHARD} differ from those that were saved`,
    ],
  ];
  test.each(DAMAGES)("one of whose shards is %s is passed over, with the reason", async (what, damage, why) => {
    const folder = `shard ${what}`;
    await cp(at("two"), at(folder), { recursive: true });
    damage(folder);
    const { checkpoint, passedOver } = await findCheckpoint(join(at(folder), "checkpoint"));
    expect(checkpoint?.run.step).toBe(8);
    expect(passedOver).toEqual([expect.stringContaining(`${pathOf(folder, nameOf(9, "json"))}: ${why}`)]);
  });

  test(
    "with a broken shard makes all go on from the one before, to the same numbers",
    async () => {
      await cp(at("three"), at("broken"), { recursive: true });
      truncateSync(pathOf("broken", shardOf(9, 2, 3)), 500);
      for (const { events, numbers } of await trained("broken", 2, { shard: true })) {
        expect(events[0]).toBe("resumed 8");
        expect(numbers).toEqual(alone.numbers);
      }
      // Nothing of three processes is left.
      expect(filesOf("broken").filter((file) => file.includes("of-00003"))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "none of which is whole ends all in one line each, before a step",
    async () => {
      await cp(at("two"), at("none"), { recursive: true });
      for (const step of [8, 9]) rmSync(pathOf("none", shardOf(step, 1)));
      const before = filesOf("none");
      const [first] = errorsOf(await answered("none", 2, { shard: true, timeout: 20 }));
      expect(first).toMatch(
        /^no checkpoint in \S+ is complete \(\S+: its tensors of rank 1 in \S+ are missing\); remove them to start a new run$/,
      );
      expect(filesOf("none")).toEqual(before);
    },
    PATIENCE,
  );

  test(
    "in a folder that a rank does not see is refused before the first step, on all ranks",
    async () => {
      const found = await answered("seen", 2, { rank: 1, elsewhere: at("unseen") });
      const why = `rank 1 does not see the folder ${at("unseen")}/checkpoint of rank 0, to which all ranks write checkpoints; give a run folder on a file system that all ranks share`;
      expect(errorsOf(found)).toEqual([`rank 0 of 2 ends, because rank 1 has failed; ${why}`, why]);
      expect(existsSync(at("unseen"))).toBe(false);
      expect(filesOf("seen")).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "of a rank whose disk is full ends all with the name of its file, and leaves the one before",
    async () => {
      await cp(at("two"), at("full"), { recursive: true });
      const found = errorsOf(await answered("full", 2, { shard: true, full: 1 }));
      const file = pathOf("full", shardOf(10, 1));
      const why = `the checkpoint of step 10 cannot be saved: ${file}: cannot be written: `;
      expect(found[1]).toMatch(/; free disk space and resume from the previous checkpoint$/);
      expect(found[1]?.startsWith(why) || found[1]).toBe(true);
      expect(found[0]).toBe(`rank 0 of 2 ends, because rank 1 has failed; ${found[1]}`);
      expect(filesOf("full").filter((name) => name.endsWith(".json"))).toEqual([8, 9].map((s) => nameOf(s, "json")));
      for (const { events, numbers } of await trained("full", 3, { shard: true })) {
        expect(events[0]).toBe("resumed 9");
        expect(numbers).toEqual(alone.numbers);
      }
      expect(filesOf("full").filter((name) => name.includes("of-00002"))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "and its run need the same choice of `shard` on all ranks",
    async () => {
      const [, second] = errorsOf(await answered("choices", 2, { rank: 1, shard: true, chosen: false, timeout: 20 }));
      expect(second).toBe(
        "rank 1 has other settings than rank 0: shard optimizer is true, requested false; start all with the same command",
      );
    },
    PATIENCE,
  );
});
