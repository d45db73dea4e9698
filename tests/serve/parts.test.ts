// The parts of the scheduler that need no model: the fair queue, the shares of prompts in a turn, log-probabilities, and
// the gate.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import { Gate } from "../../workbench/serve/gate.ts";
import { FairQueue } from "../../workbench/serve/scheduler/fair-queue.ts";
import { scoredToken } from "../../workbench/serve/scheduler/log-probabilities.ts";
import { sharesOf } from "../../workbench/serve/scheduler/plan.ts";
import { channel } from "../../workbench/serve/texts/channel.ts";

test("a fair queue gives every client a turn in each round, and keeps the order of each", () => {
  const clients = fc.array(fc.nat(4), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(clients, (given) => {
      const queue = new FairQueue<[client: number, at: number]>();
      for (const [at, client] of given.entries()) queue.push(String(client), [client, at]);
      expect(queue.length).toBe(given.length);
      const taken: [number, number][] = [];
      for (let next = queue.take(); next; next = queue.take()) taken.push(next);
      expect(taken.length).toBe(given.length);
      for (const client of new Set(given)) {
        const own = taken.filter(([each]) => each === client).map(([, at]) => at);
        expect(own).toEqual([...own].sort((a, b) => a - b));
        // Nobody is served k + 2 times before a client that waits is served k + 1 times.
        for (const [round, at] of own.entries()) {
          const before = taken.slice(
            0,
            taken.findIndex(([, place]) => place === at),
          );
          for (const other of new Set(given)) {
            expect(before.filter(([each]) => each === other).length).toBeLessThanOrEqual(round + 1);
          }
        }
      }
    }),
  );
});

test("a fair queue gives back first what was taken, and forgets what is removed", () => {
  const queue = new FairQueue<string>();
  for (const item of ["a1", "a2", "a3"]) queue.push("a", item);
  const first = queue.take() as string;
  queue.giveBack(first);
  queue.remove("a2");
  expect(queue.length).toBe(2);
  expect([queue.take(), queue.take(), queue.take()]).toEqual(["a1", "a3", undefined]);
});

test("shares use the whole budget, exceed no wish, and favor nobody", () => {
  const wishes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(wishes, fc.integer({ min: 12, max: 200 }), (wanted, budget) => {
      const shares = sharesOf(wanted, budget);
      const total = shares.reduce((sum, share) => sum + share, 0);
      expect(total).toBe(
        Math.min(
          budget,
          wanted.reduce((sum, each) => sum + each, 0),
        ),
      );
      for (const [i, share] of shares.entries()) {
        expect(share).toBeGreaterThanOrEqual(1);
        expect(share).toBeLessThanOrEqual(wanted[i] as number);
        // Who gets less than it wants gets no less than any other, but for the rounding.
        if (share < (wanted[i] as number)) expect(Math.max(...shares) - share).toBeLessThanOrEqual(wanted.length);
      }
    }),
  );
});

test("log-probabilities are those of a softmax in float64, and the likeliest tokens are sorted", () => {
  const uniform = seededUniform(3);
  const logits = Float32Array.from({ length: 500 }, () => 30 * uniform() - 10);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  const order = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number));
  const { id, logProbability, likeliest } = scoredToken(logits, 77, 4);
  expect(id).toBe(77);
  expect(logProbability).toBeCloseTo(Math.log(Math.exp(logits[77] as number) / total), 10);
  expect(likeliest.map((each) => each.id)).toEqual(order.slice(0, 4));
  expect(scoredToken(logits, order[0] as number, 1).likeliest[0]?.logProbability).toBe(
    scoredToken(logits, order[0] as number, 1).logProbability,
  );
  expect(scoredToken(logits, 1, 0).likeliest).toEqual([]);
});

test("of equally likely tokens the first ones are reported", () => {
  const { likeliest } = scoredToken(Float32Array.from([1, 2, 2, 0, 2]), 3, 2);
  expect(likeliest.map(({ id }) => id)).toEqual([1, 2]);
});

test("a gate lets in a number of requests, says when to come again, and closes when all are out", async () => {
  let now = 0;
  const gate = new Gate({ most: 2, clock: () => now });
  const [leave, other] = [gate.enter(), gate.enter()];
  expect(() => gate.enter()).toThrow("its limit; try again in 1 s");
  now = 100;
  leave();
  leave();
  const again = gate.enter();
  const refused = thrownBy(() => gate.enter()) as { status: number; headers: Record<string, string> };
  expect(refused.status).toBe(429);
  // The mean time of a request grew by an eighth of the 99 seconds.
  expect(refused.headers["Retry-After"]).toBe(String(Math.ceil((1 + 99 / 8) / 2)));
  let closed = false;
  const closing = gate.close().then(() => {
    closed = true;
  });
  expect((thrownBy(() => gate.enter()) as { status: number }).status).toBe(503);
  again();
  await Promise.resolve();
  expect(closed).toBe(false);
  other();
  await closing;
  expect(closed).toBe(true);
});

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test("a channel gives its reader what was pushed before its end, and then the error", async () => {
  const numbers = channel<number>();
  numbers.push(1);
  setImmediate(() => {
    numbers.push(2);
    numbers.fail(new Error("over"));
  });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const each of numbers) seen.push(each);
  })();
  expect(reading).rejects.toThrow("over");
  await reading.catch(() => {});
  expect(seen).toEqual([1, 2]);
});
