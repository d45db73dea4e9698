// Training over two and three processes, one of which is killed in training, or at any time from its start to its end: the others end in
// time with one line, and what is on the disk at the end is what a run left alone leaves. $GBLR_TEST_KILLS is the number of
// processes that are killed, by default 4.

import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { buildState } from "../../native/build-state.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import { answerOf, startRanks } from "./start.ts";
import type { TrainAnswer, TrainTask } from "./train-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const at = temporaryFolder();
const answers = workersOf("train-rank.ts");
if (state.state !== "built") console.log("killed ranks are not tested: the native engine is not built");
const KILLS = Number(process.env.GBLR_TEST_KILLS ?? 4);
/** Seconds that ranks wait for one that was killed before it has joined. */
const TIMEOUT = 10;
/** Milliseconds for one kill, within which the others must have ended. */
const PATIENCE = 120_000;

type Answer = TrainAnswer | { error: string } | { ended: string };

const task = (folder: string, timeout = TIMEOUT): TrainTask => ({
  ...{ folder: at(folder), changes: { microBatch: 6 }, timeout },
});

/** The line of a rank when another one is gone. */
const LINES = [
  /^rank \d of \d: \w+( in ((the checkpoint of )?step \d+|the start of training))? failed: another rank (has ended|did not answer within 10 s); see the output[^\n]*$/,
  /^rank \d of \d did not meet the others at 127\.0\.0\.1:\d+ within 10 s: [^\n]+; see that all ranks run, and that this address is reachable$/,
];

/** Starts ranks and kills one of them at a moment. @returns whether that has ended the run */
async function isKilled(folder: string, size: number, moment: () => Promise<unknown>): Promise<boolean> {
  const ranks = await startRanks("train-rank.ts", task(folder), size);
  const answered = Promise.all(ranks.map(answerOf));
  const victim = Math.floor(Math.random() * size);
  await Promise.race([answered, moment()]);
  ranks[victim]?.kill("SIGKILL");
  const found = (await answered) as Answer[];
  for (const [rank, answer] of found.entries()) {
    // One that was killed in its last moments may have left the others nothing to wait for.
    if (rank === victim || "numbers" in answer) continue;
    expect("error" in answer ? LINES.some((line) => line.test(answer.error)) || answer.error : answer).toBe(true);
  }
  return found.some((answer) => !("numbers" in answer));
}

const isSaved = (folder: string): boolean => {
  const checkpoints = join(at(folder), "checkpoint");
  return existsSync(checkpoints) && readdirSync(checkpoints).some((name) => name.endsWith(".json"));
};

test.skipIf(state.state !== "built")(
  `${KILLS} killed ranks end all others in time, and the run goes on to the numbers of one left alone`,
  async () => {
    const began = performance.now();
    const ranks = await startRanks("train-rank.ts", task("alone"), 2);
    const [alone] = (await Promise.all(ranks.map(answerOf))) as [TrainAnswer];
    const whole = performance.now() - began;
    let [kills, round] = [0, 0];
    while (kills < KILLS) {
      const folder = `killed ${round++}`;
      const inTraining = async () => {
        while (!isSaved(folder)) await setTimeout(5);
        await setTimeout(Math.random() * 400);
      };
      const atAnyTime = () => setTimeout((0.4 + 0.6 * Math.random()) * whole);
      if (await isKilled(folder, 2, inTraining)) kills++;
      if (kills < KILLS && (await isKilled(folder, 3, atAnyTime))) kills++;
      for (const size of [2, 0]) {
        for (const { events, numbers } of (await answers(task(folder, 60), size)) as TrainAnswer[]) {
          expect(events[0]).toStartWith("resumed");
          expect(numbers).toEqual(alone.numbers);
        }
      }
      expect(await timelessMetrics(at(folder))).toEqual(await timelessMetrics(at("alone")));
    }
    console.log(`killed ${kills} ranks of ${round} runs`);
  },
  (KILLS + 10) * PATIENCE,
);
