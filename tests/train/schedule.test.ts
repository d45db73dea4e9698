// Which items are seen when: every item once an epoch, in an order that the seed decides, however it is cut up.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { FitOptions } from "../../workbench/train/index.ts";
import { epochOrder, microBatches, scheduleOf, seedOf, timeAt } from "../../workbench/train/schedule.ts";

const scheduled = ({ items = 10, ...options }: Partial<FitOptions> & { items?: number }) =>
  scheduleOf({ task: { length: items }, batch: 4, length: { epochs: 2 }, seed: 7, ...options } as FitOptions);

const itemsOf = (schedule: ReturnType<typeof scheduled>, start = 0) =>
  [...microBatches(schedule, start)].map(({ step, items }) => ({ step, items }));

test("shows every item once an epoch, in another order each epoch", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 60 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      (more, batch, micro) => {
        const items = batch + more;
        const schedule = scheduled({ items, batch, microBatch: micro });
        const seen = itemsOf(schedule);
        for (const epoch of [0, 1]) {
          const own = seen.filter(({ step }) => timeAt(schedule, step).epoch === epoch).flatMap((each) => each.items);
          expect(own).toEqual([...epochOrder(schedule, epoch)]);
          expect(own.toSorted((a, b) => a - b)).toEqual(Array.from({ length: items }, (_, i) => i));
        }
      },
    ),
  );
  const schedule = scheduled({ items: 50 });
  expect([...epochOrder(schedule, 0)]).not.toEqual([...epochOrder(schedule, 1)]);
  expect([...epochOrder(schedule, 0)]).not.toEqual([...epochOrder(scheduled({ items: 50, seed: 8 }), 0)]);
});

test("goes on from any step as it would have gone on", () => {
  const schedule = scheduled({ items: 23, batch: 5, microBatch: 2, length: { steps: 13 } });
  const whole = [...microBatches(schedule, 0)];
  for (let start = 0; start <= 13; start++) {
    expect([...microBatches(schedule, start)]).toEqual(whole.filter(({ step }) => step >= start));
  }
});

test("keeps a last, smaller batch or drops it, as told", () => {
  const kept = scheduled({ items: 10, batch: 4 });
  expect([kept.stepsPerEpoch, kept.steps]).toEqual([3, 6]);
  expect(itemsOf(kept).map(({ items }) => items.length)).toEqual([4, 4, 2, 4, 4, 2]);
  const dropped = scheduled({ items: 10, batch: 4, lastBatch: "drop" });
  expect(itemsOf(dropped).map(({ items }) => items.length)).toEqual([4, 4, 4, 4]);
});

test("orders items without favor: each is first about as often as any other", () => {
  const firsts = new Array(8).fill(0);
  for (let seed = 0; seed < 4000; seed++) firsts[epochOrder(scheduled({ items: 8, seed }), 0)[0] as number]++;
  // 500 each, deviation 21
  for (const count of firsts) expect(Math.abs(count - 500)).toBeLessThan(100);
});

test("gives every micro-batch, and reading and computing it, a seed of its own", () => {
  const schedule = scheduled({ items: 64, batch: 8, microBatch: 2, length: { epochs: 20 } });
  const seeds = [...microBatches(schedule, 0)].flatMap(({ readSeed, lossSeed }) => [readSeed, lossSeed]);
  expect(new Set(seeds).size).toBe(seeds.length);
  expect(seedOf(1, "loss", 2, 3)).not.toBe(seedOf(1, "loss", 3, 2));
});

test("refuses sizes that make no sense, each in one line", () => {
  const refusals: [Partial<FitOptions> & { items?: number }, string][] = [
    [{ items: 0 }, "items must be a whole number of at least 1, got 0"],
    [{ batch: 2.5 }, "batch must be a whole number of at least 1, got 2.5"],
    [{ microBatch: 0 }, "microBatch must be a whole number of at least 1, got 0"],
    [{ seed: -1 }, "seed must be a whole number of at least 0, got -1"],
    [{ length: { epochs: 0 } }, "length in steps must be a whole number of at least 1, got 0"],
    [{ batch: 16, lastBatch: "drop" }, "batch must be at most the 10 items where the last batch is dropped, got 16"],
  ];
  for (const [options, message] of refusals) expect(() => scheduled(options)).toThrow(message);
});
