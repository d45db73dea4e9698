// Calibrations that are shared by two and three processes of this machine: their sums are those of one process, though each
// sees a part of the inputs.

import { describe, expect, test } from "bun:test";
import { buildState } from "../../native/build-state.ts";
import { expectClose } from "../engine/ops/operands.ts";
import type { CalibrateAnswer, CalibrateTask } from "./calibrate-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 240_000;
const answers = workersOf("calibrate-rank.ts");
if (state.state !== "built") console.log("shared calibrations are not tested: the native engine is not built");

const calibrated = async (size: number, task: CalibrateTask) =>
  (await answers(task, size)) as (CalibrateAnswer & { error?: string })[];

describe.skipIf(state.state !== "built")("a calibration over processes", () => {
  test.each([
    { model: "gpt2", count: 7 },
    { model: "vit", count: 5 },
    { model: "gpt2", count: 2 },
  ] as CalibrateTask[])(
    "of $model with $count inputs has the covariances, corrections and gradients of one process on all",
    async (task) => {
      const [alone] = (await calibrated(0, task)) as [CalibrateAnswer];
      expect(alone.passes).toBe(task.count);
      for (const size of [2, 3]) {
        const ranks = await calibrated(size, task);
        const [first] = ranks as [CalibrateAnswer];
        for (const { numbers } of ranks) expect(numbers).toEqual(first.numbers);
        expect(Object.keys(first.numbers)).toEqual(Object.keys(alone.numbers));
        for (const [what, values] of Object.entries(alone.numbers)) {
          // Corrections are solutions with Σ, which amplify its rounding.
          const tolerance = what.startsWith("correction") ? 1e-3 : 1e-5;
          expectClose(Float32Array.from(first.numbers[what] as number[]), values, { tolerance });
        }
        // All run the first input, which shows the layers with the same input.
        for (const [rank, { passes }] of ranks.entries()) {
          const share = Math.ceil((task.count - rank) / size);
          expect(passes, `rank ${rank} of ${size}`).toBe(rank === 0 ? share : share + 1);
        }
      }
    },
    PATIENCE,
  );

  test(
    "ends on all processes when one is stopped",
    async () => {
      const [first, second] = await calibrated(2, { model: "gpt2", count: 6, stopped: 1 });
      expect(second?.error).toMatch(/abort/);
      expect(first?.error).toBe("rank 0 of 2 ends, because rank 1 was stopped");
    },
    PATIENCE,
  );

  test(
    "fails as one process does when there is no input",
    async () => {
      const expected = "calibration: h.0.attn.c_attn received no input from 0 inputs of the model; use more data";
      for (const size of [0, 2]) {
        for (const { error } of await calibrated(size, { model: "gpt2", count: 0 })) expect(error).toBe(expected);
      }
    },
    PATIENCE,
  );
});
