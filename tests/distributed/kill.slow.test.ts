// Training over two and three processes, one of which is killed at a random moment, again and again: the others end in
// time with one line, and what is on the disk at the end is what a run left alone leaves. $GBLR_TEST_KILLS is the number of
// processes that are killed, by default 6.

import { expect, test } from "bun:test";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { buildState } from "../../native/build-state.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import { answerOf, answers, startRanks } from "./start.ts";
import type { TrainAnswer, TrainTask } from "./train-rank.ts";

const state = buildState();
const at = temporaryFolder();
if (state.state !== "built") console.log("killed ranks are not tested: the native engine is not built");
const KILLS = Number(process.env.GBLR_TEST_KILLS ?? 6);
/** Seconds that ranks wait for one that was killed before it has joined. */
const TIMEOUT = 10;
/** Milliseconds for one kill, within which the others must have ended. */
const PATIENCE = 120_000;

const task = (folder: string): TrainTask => ({ folder: at(folder), changes: { microBatch: 6 }, timeout: TIMEOUT });

/** The line of a rank when another one is gone. */
const LINES = [
  /^rank \d of \d: \w+( in (step \d+|the start of training))? failed: another rank (has ended|did not answer within 10 s); see the output[^\n]*$/,
  /^rank \d of \d did not meet the others at 127\.0\.0\.1:\d+ within 10 s: [^\n]+; see that all ranks run, and that this address is reachable$/,
];

test.skipIf(state.state !== "built")(
  `${KILLS} killed ranks end all others in time, and the run goes on to the numbers of one left alone`,
  async () => {
    const began = performance.now();
    const alone = (await answers("train-rank.ts", task("alone"), 2)) as TrainAnswer[];
    const whole = performance.now() - began;
    let [kills, resumed, round] = [0, 0, 0];
    while (kills < KILLS) {
      const folder = `killed ${round++}`;
      for (let size = 2; ; size = 5 - size) {
        const ranks = await startRanks("train-rank.ts", task(folder), size);
        const answered = Promise.all(ranks.map(answerOf));
        const victim = Math.floor(Math.random() * size);
        // Later each time, so that the run ends.
        const moment = (0.5 + Math.random() * (0.5 + 0.05 * (kills % 10))) * whole;
        await Promise.race([answered, setTimeout(moment)]);
        ranks[victim]?.kill("SIGKILL");
        const found = (await answered) as (TrainAnswer | { error: string } | { ended: string })[];
        const survivors = found.filter((_, rank) => rank !== victim);
        if (found.some((answer) => "numbers" in answer && answer.events[0]?.startsWith("resumed"))) resumed++;
        if (found.every((answer) => "numbers" in answer)) break;
        kills++;
        // One that was killed in its last moments may have left the others nothing to wait for.
        for (const answer of survivors) {
          if ("numbers" in answer) continue;
          expect("error" in answer ? LINES.some((line) => line.test(answer.error)) || answer.error : answer).toBe(true);
        }
      }
      const [one] = (await answers("train-rank.ts", task(folder), 0)) as [TrainAnswer];
      expect(one.numbers).toEqual((alone[0] as TrainAnswer).numbers);
      expect(await timelessMetrics(at(folder))).toEqual(await timelessMetrics(at("alone")));
    }
    console.log(`killed ${kills} ranks of ${round} runs; ${resumed} runs that ended had been resumed`);
  },
  (KILLS + 10) * PATIENCE,
);
