// Training over two and three processes, one of which is killed while checkpoints are written, several times in a run: what
// is on the disk is always a whole checkpoint, never an older one than before, and the run ends with the numbers of one left
// alone. $GBLR_TEST_KILLS is the number of processes that are killed, by default 4.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { buildState } from "../../native/build-state.ts";
import { findCheckpoint } from "../../workbench/train/checkpoint.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import { answerOf, startRanks } from "./start.ts";
import type { TrainAnswer, TrainTask } from "./train-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const at = temporaryFolder();
const answers = workersOf("train-rank.ts");
if (state.state !== "built") console.log("killed writers are not tested: the native engine is not built");
const KILLS = Number(process.env.GBLR_TEST_KILLS ?? 4);
/** Seconds that ranks wait for one that was killed, where no closed connection tells them that it was. */
const TIMEOUT = 20;
/** Milliseconds for one kill, within which the others must have ended. */
const PATIENCE = 120_000;
/** The longest time, in milliseconds, between the beginning of a write and the kill. A write takes about as long. */
const LATEST = 12;

const task = (folder: string, shard: boolean, timeout = 60): TrainTask => ({
  ...{ folder: at(folder), changes: { microBatch: 6 }, timeout, shard },
});

/** What is being written now: the temporary files of checkpoints. */
function writtenIn(folder: string): string[] {
  try {
    return readdirSync(join(at(folder), "checkpoint")).filter((name) => /^\.step-(?!0{10}).*\.tmp$/.test(name));
  } catch {
    return [];
  }
}

/** Ends when so many files have begun to be written, or with the run. Those that an earlier kill has left do not count. */
async function writes(folder: string, count: number, ended: Promise<unknown>): Promise<void> {
  const seen = new Set<string>();
  let left = writtenIn(folder);
  let isOver = false;
  ended.then(() => {
    isOver = true;
  });
  while (!isOver && seen.size < count) {
    const found = writtenIn(folder);
    left = left.filter((name) => found.includes(name));
    for (const name of found) if (!left.includes(name)) seen.add(name);
    await setTimeout(1);
  }
}

/** Starts ranks and kills one of them after it has begun to write some files. @returns whether that has ended the run */
async function isKilled(folder: string, size: number, { shard, files }: { shard: boolean; files: number }) {
  const ranks = await startRanks("train-rank.ts", task(folder, shard, TIMEOUT), size);
  const answered = Promise.all(ranks.map(answerOf));
  await writes(folder, files, answered);
  await setTimeout(Math.random() * LATEST);
  ranks[Math.floor(Math.random() * size)]?.kill("SIGKILL");
  return ((await answered) as object[]).some((answer) => !("numbers" in answer));
}

/** The step of the newest checkpoint, which is whole, as all are; -1 if there is none. */
async function stepOf(folder: string): Promise<number> {
  const { checkpoint, passedOver } = await findCheckpoint(join(at(folder), "checkpoint"));
  expect(passedOver).toEqual([]);
  return checkpoint?.run.step ?? -1;
}

test.skipIf(state.state !== "built")(
  `${KILLS} ranks killed while checkpoints are written leave a whole one each time, and the numbers of a run left alone`,
  async () => {
    const [alone] = (await answers(task("alone", true), 2)) as [TrainAnswer];
    let [kills, halves, round] = [0, 0, 0];
    while (kills < KILLS) {
      const folder = `killed ${round++}`;
      let former = -1;
      // Each begins with what another number of ranks has written, in other parts.
      const launches = [
        { size: 2, shard: true },
        { size: 3, shard: true },
        { size: 2, shard: round % 2 === 0 },
      ];
      for (const { size, shard } of launches) {
        if (kills >= KILLS) break;
        if (await isKilled(folder, size, { shard, files: 1 + Math.floor(Math.random() * (5 + kills)) })) kills++;
        const step = await stepOf(folder);
        expect(step).toBeGreaterThanOrEqual(former);
        former = step;
        if (hasParts(folder, step)) halves++;
      }
      for (const { numbers } of (await answers(task(folder, round % 2 === 1), 2)) as TrainAnswer[]) {
        expect(numbers).toEqual(alone.numbers);
      }
      expect(await timelessMetrics(at(folder))).toEqual(await timelessMetrics(at("alone")));
      expectOnlyCheckpoints(folder);
    }
    console.log(`killed ${kills} ranks in ${round} runs; ${halves} times a part of a checkpoint was left`);
  },
  (KILLS + 10) * PATIENCE,
);

/** Two checkpoints of a state and parameters, and the shards; what killed writers left behind is gone. */
function expectOnlyCheckpoints(folder: string): void {
  const left = readdirSync(join(at(folder), "checkpoint"));
  const others = left.filter((name) => !/^step-\d{10}\.(json|(optimizer-\d{5}-of-\d{5}\.)?safetensors)$/.test(name));
  expect(others).toEqual([]);
  expect(left.filter((name) => name.endsWith(".json")).length).toBe(2);
  expect(new Set(left.map((name) => name.slice(0, 15))).size).toBe(2);
}

/** Whether files of a later step than that of the newest checkpoint are there. */
const hasParts = (folder: string, step: number): boolean =>
  readdirSync(join(at(folder), "checkpoint")).some((name) => Number(/step-(\d{10})/.exec(name)?.[1] ?? 0) > step);
