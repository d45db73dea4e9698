// Training over two and three processes of this machine: the same numbers as one process, and what happens when one of
// them stops, ends, or has other settings.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { buildState } from "../../native/build-state.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import type { TrainAnswer, TrainTask } from "./train-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 240_000;
const TIMEOUT = 60;
const at = temporaryFolder();
const answers = workersOf("train-rank.ts");
if (state.state !== "built") console.log("training over processes is not tested: the native engine is not built");

type Answer = TrainAnswer | { error: string } | { ended: string | number };

/** The answers of all ranks; `size` 0 is one process that is no rank. */
async function trained(folder: string, size: number, task: Partial<TrainTask> = {}): Promise<Answer[]> {
  const whole: TrainTask = { folder: at(folder), changes: { microBatch: 6 }, timeout: TIMEOUT, ...task };
  return (await answers(whole, size)) as Answer[];
}

/** The answers of ranks that have all come to the end. */
const ended = (found: readonly Answer[]): TrainAnswer[] =>
  found.map((answer) => {
    if (!("numbers" in answer)) throw new Error(JSON.stringify(answer));
    return answer;
  });

const metricsOf = (folder: string) => timelessMetrics(at(folder));

function furthest(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
}

describe.skipIf(state.state !== "built")("training over processes", () => {
  let alone: TrainAnswer;
  beforeAll(async () => {
    [alone] = ended(await trained("alone", 0)) as [TrainAnswer];
  }, PATIENCE);

  test(
    "is bit-equal with two to one process that accumulates the same two micro-batches",
    async () => {
      const [first, second] = ended(await trained("two", 2)) as [TrainAnswer, TrainAnswer];
      expect(alone.losses.length).toBe(24);
      expect(first).toEqual(alone);
      expect(second.numbers).toEqual(alone.numbers);
      expect(second.losses).toEqual(alone.losses);
      expect(await metricsOf("two")).toEqual(await metricsOf("alone"));
      // Only the first process writes, and so speaks of, checkpoints.
      expect(second.events.filter((event) => event.startsWith("checkpoint"))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "with three is alike on all and from run to run, and near to one process",
    async () => {
      // Batches of 12, and one of 4 at the end of an epoch, in micro-batches of 3: some ranks have more than others.
      const changes = { microBatch: 3 };
      const [one] = ended(await trained("alone-of-3", 0, { changes })) as [TrainAnswer];
      const three = ended(await trained("three", 3, { changes }));
      const again = ended(await trained("three-again", 3, { changes }));
      for (const { numbers } of [...three, ...again]) expect(numbers).toEqual((three[0] as TrainAnswer).numbers);
      expect(furthest((three[0] as TrainAnswer).losses, one.losses)).toBeLessThan(1e-5);
    },
    PATIENCE,
  );

  test(
    "gives ranks without items nothing to do, where a step has fewer micro-batches than ranks",
    async () => {
      const changes = { microBatch: 12 };
      const [one] = ended(await trained("alone-of-12", 0, { changes })) as [TrainAnswer];
      const [first, second] = ended(await trained("idle", 2, { changes })) as [TrainAnswer, TrainAnswer];
      expect(first).toEqual(one);
      expect(second.numbers).toEqual(one.numbers);
    },
    PATIENCE,
  );

  test(
    "ends on all when one is killed, and goes on from the checkpoint with another number of processes",
    async () => {
      const [first, killed] = await trained("killed", 2, { rank: 1, killed: 9 });
      expect(killed).toEqual({ ended: "SIGKILL" });
      expect(first).toEqual({
        error: expect.stringMatching(/^rank 0 of 2: \w+ in step (9|10) failed: another rank has ended; see the output/),
      });
      expect(readdirSync(at("killed/checkpoint")).some((file) => file.endsWith(".json"))).toBe(true);
      const [resumed] = ended(await trained("killed", 0)) as [TrainAnswer];
      expect(resumed.events[0]).toBe("resumed 8");
      expect(resumed.numbers).toEqual(alone.numbers);
      expect(await metricsOf("killed")).toEqual(await metricsOf("alone"));
    },
    PATIENCE,
  );

  test(
    "stops all after the same step with a checkpoint when one is asked to stop, and resumes over ranks",
    async () => {
      const stopped = ended(await trained("stopped", 2, { rank: 1, stopped: 5 }));
      for (const { events } of stopped) expect(events.at(-1)).toBe("interrupted 5");
      expect(stopped[0]?.events).toContain("checkpoint 5");
      const resumed = ended(await trained("stopped", 2));
      for (const { events, numbers } of resumed) {
        expect(events[0]).toBe("resumed 5");
        expect(numbers).toEqual(alone.numbers);
      }
    },
    PATIENCE,
  );

  test(
    "tells which rank has which other setting, before a step",
    async () => {
      const [first, second] = await trained("differing", 2, { rank: 1, seed: 4 });
      expect(second).toEqual({
        error: "rank 1 has other settings than rank 0: seed is 3, requested 4; start all with the same command",
      });
      expect(first).toEqual({
        error: expect.stringMatching(/^rank 0 of 2: \w+ in the start of training failed: another rank has ended/),
      });
      expect(existsSync(at("differing"))).toBe(false);
    },
    PATIENCE,
  );
});
