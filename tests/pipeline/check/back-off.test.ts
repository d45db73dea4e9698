// The number of layers to put back, compared with the result of trying every number.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { fewestPutBack, predicted } from "../../../workbench/pipeline/check/back-off.ts";
import { resultOf } from "../../../workbench/pipeline/stage.ts";

/** Bisects with losses by number of layers put back. @returns the number, and the numbers that were measured */
async function putBack(
  losses: readonly number[],
  { limit, harms, allowed }: Record<"limit" | "allowed", number> & { harms: number[] },
) {
  const measured: number[] = [];
  const count = await resultOf(
    fewestPutBack({
      harms,
      allowed,
      // biome-ignore lint/correctness/useYield: measures without events
      async *isWithin(at: number): AsyncGenerator<never, boolean> {
        measured.push(at);
        return (losses[at] as number) <= limit;
      },
    }),
  );
  return { count, measured };
}

const sortedHarms = fc
  .array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 40 })
  .map((harms) => harms.toSorted((a, b) => b - a));

test("the fewest layers are found where each layer put back lowers the loss, with few measurements", async () => {
  await fc.assert(
    fc.asyncProperty(
      sortedHarms,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 40, noNaN: true }),
      async (harms, share, allowed) => {
        const losses = [...harms, 0].map((_, i) => harms.slice(i).reduce((sum, harm) => sum + harm, 0));
        const limit = share * (losses[0] as number) * 0.999;
        fc.pre((losses[0] as number) > limit);
        const expected = losses.findIndex((loss) => loss <= limit);
        const { count, measured } = await putBack(losses, { limit, harms, allowed });
        expect(count).toBe(expected);
        expect(new Set(measured).size).toBe(measured.length);
        expect(measured.length).toBeLessThanOrEqual(2 + Math.ceil(Math.log2(harms.length)));
        // What is known beforehand is not measured: that no layer put back is too few, and all are enough.
        expect(measured.every((at) => at > 0 && at < harms.length)).toBe(true);
      },
    ),
  );
});

test("a right prediction of the harms takes two measurements", async () => {
  const harms = [8, 4, 2, 1, ...Array(200).fill(0.01)];
  const losses = harms.map((_, i) => harms.slice(i).reduce((sum, harm) => sum + harm, 0));
  const { count, measured } = await putBack([...losses, 0], { limit: 3.5, harms, allowed: 3.5 });
  expect(predicted(harms, 3.5)).toBe(count);
  expect([count, measured[0]]).toEqual([3, 3]);
});

test("any loss ends within the limit or at all layers", async () => {
  const values = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(values, async (losses) => {
      const harms = losses.slice(1).map(() => 0.1);
      const { count, measured } = await putBack(losses, { limit: 0.5, harms, allowed: 0.5 });
      if (count < harms.length)
        expect([measured.includes(count), (losses[count] as number) <= 0.5]).toEqual([true, true]);
    }),
  );
});
