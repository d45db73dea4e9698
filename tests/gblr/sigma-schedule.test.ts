// sigmaAt against the schedules of the published recipes, as the reference implementation ran them.

import { describe, expect, test } from "bun:test";
import { type SigmaSchedule, sigmaAt } from "../../workbench/gblr/schedules.ts";
import published from "../fixtures/gblr/sigma.json";

function expectNear(actual: number, expected: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-6 * expected);
}

const RECIPES = { gpt2: published.gpt2, vit_b: published.vit_b, mixer_finetune: published.mixer_finetune };

describe("sigmaAt", () => {
  for (const [name, recipe] of Object.entries(RECIPES)) {
    test(`gives the ${name} recipe's sigma in each epoch, whatever the batch`, () => {
      const { sigma_init: initial, sigma_final: final, start_epoch: startEpoch, end_epoch: endEpoch, sigma } = recipe;
      expect(sigma.length).toBeGreaterThan(10);
      sigma.forEach((expected, epoch) => {
        expectNear(
          sigmaAt({ initial, final, startEpoch, endEpoch }, { epoch, batch: 7, batchesPerEpoch: 10 }),
          expected,
        );
      });
    });
  }

  test("gives the sigma of each batch when it rises by batch, and the last one after", () => {
    const { sigma_init: initial, sigma_final: final, at_epoch: startEpoch, num_training_batches } = published.batch;
    const schedule: SigmaSchedule = { initial, final, startEpoch, endEpoch: startEpoch + 1, every: "batch" };
    const at = (epoch: number, batch: number) =>
      sigmaAt(schedule, { epoch, batch, batchesPerEpoch: num_training_batches });
    expect(published.batch.sigma_in_epoch_0.length).toBe(20);
    published.batch.sigma_in_epoch_0.forEach((expected, batch) => {
      expectNear(at(0, batch), expected);
    });
    published.batch.sigma_in_epoch_1_fresh_layer.forEach((expected, batch) => {
      expectNear(at(1, batch), expected);
    });
  });

  test("ends ten epochs of the gpt2 recipe at 89, one step short", () => {
    const schedule = { initial: 1, final: 100, startEpoch: 1, endEpoch: 10 };
    expect(sigmaAt(schedule, { epoch: 9, batch: 0, batchesPerEpoch: 1 })).toBe(89);
  });

  test("jumps when start and end are one epoch", () => {
    const schedule = { initial: 1, final: 100, startEpoch: 3, endEpoch: 3 };
    const sigmas = [2, 3, 4].map((epoch) => sigmaAt(schedule, { epoch, batch: 0, batchesPerEpoch: 1 }));
    expect(sigmas).toEqual([1, 100, 100]);
  });

  test("names what does not fit", () => {
    const schedule = { initial: 1, final: 100, startEpoch: 3, endEpoch: 5 };
    const time = { epoch: 0, batch: 0, batchesPerEpoch: 1 };
    expect(() => sigmaAt({ ...schedule, initial: 0 }, time)).toThrow(
      "sigmaAt: initial must be a finite number above 0, got 0",
    );
    expect(() => sigmaAt({ ...schedule, final: Number.POSITIVE_INFINITY }, time)).toThrow(
      "sigmaAt: final must be a finite number above 0, got Infinity",
    );
    expect(() => sigmaAt({ ...schedule, endEpoch: 2 }, time)).toThrow(
      "sigmaAt: endEpoch must be at least startEpoch 3, got 2",
    );
  });
});
