// The model of a training step, at its limits and by values computed by hand. Times of real steps are not tested.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CASES } from "../../bench/scale/assumptions.ts";
import { calibrated, lineThrough, predictions, slowest, sumPredictions } from "../../bench/scale/calibrate.ts";
import { allReduceTime, bucketBytes, exchangeTime, type Machine, memoryOf, stepTime } from "../../bench/scale/model.ts";
import { sizesOf, tables } from "../../bench/scale/tables.ts";
import { embeddingParameters, flopsPerToken, parametersOf, type Transformer } from "../../bench/scale/transformers.ts";

const tiny: Transformer = {
  ...{ name: "tiny", blocks: 2, width: 4, keys: 4, inner: 16, vocabulary: 10, context: 8, family: "gpt2" },
};
const [gpt2, xl, llama8, llama70] = CASES.map(({ model }) => model) as [
  Transformer,
  Transformer,
  Transformer,
  Transformer,
];
const float32 = { parameter: 4, gradient: 4, optimizer: 8, activation: 2 };
const machine: Machine = {
  ...{ rate: 1e12, memory: 1e11, perBlock: 1e-4, bandwidth: 1e10, latency: 1e-5, contention: 0.25 },
};

describe("the sizes of transformers", () => {
  test("are the parameters of the published checkpoints", () => {
    expect([gpt2, xl, llama8, llama70].map(parametersOf)).toEqual([
      124_439_808, 1_557_611_200, 8_030_261_248, 70_553_706_496,
    ]);
  });

  test("give the operations of a token, counted by hand", () => {
    // 2 blocks of 192 weights and a head of 40, 6 each; attention: 12 · 2 · 8 · 4
    expect(flopsPerToken(tiny)).toBe(6 * (2 * 192 + 40) + 768);
  });
});

describe("a sum over ranks", () => {
  test("takes no time for one rank", () => {
    expect(allReduceTime(1e9, { ranks: 1 }, machine)).toBe(0);
  });

  test("of two ranks sends all bytes once, in two messages", () => {
    expect(allReduceTime(1e9, { ranks: 2 }, { bandwidth: 1e9, latency: 1e-3 })).toBeCloseTo(1.002, 12);
  });

  test("tends to twice the bytes over the bandwidth", () => {
    const times = [2, 8, 64, 4096].map((ranks) => allReduceTime(1e9, { ranks }, { bandwidth: 1e9, latency: 0 }));
    expect(times).toEqual([1, 1.75, 1.96875, 1.99951171875]);
  });

  test("passes 14 messages on in a ring of eight, and 6 along a tree", () => {
    const far = { bandwidth: 1e9, latency: 1 };
    expect(allReduceTime(0, { ranks: 8 }, far)).toBe(14);
    expect(allReduceTime(0, { ranks: 8, hops: "tree" }, far)).toBe(6);
  });
});

describe("the buckets of gradients", () => {
  test("hold all gradients, in 1 MiB, then 25 MiB each, the embeddings last", () => {
    const buckets = bucketBytes(gpt2);
    expect(buckets.reduce((sum, bytes) => sum + bytes, 0)).toBe(4 * 124_439_808);
    expect(buckets.slice(0, 3)).toEqual([2 ** 20, 25 * 2 ** 20, 25 * 2 ** 20]);
    expect(buckets.at(-1)).toBe(4 * (50_257 + 1024) * 768);
    expect(bucketBytes(tiny)).toHaveLength(2);
  });

  test("are hidden behind a slow backward pass, except those of the first block and of the embeddings", () => {
    const step = { ranks: 4, tokens: 1 };
    const { exposed } = exchangeTime(gpt2, step, machine, 1000);
    const rest = 4 * (124_439_808 - (50_257 + 1024) * 768) - 2 ** 20 - 12 * 25 * 2 ** 20;
    expect(rest).toBeGreaterThan(0);
    // both are sent when the backward pass has ended; three small messages follow
    const sent = [rest, 4 * embeddingParameters(gpt2), 0, 0, 0].map((bytes) => allReduceTime(bytes, step, machine));
    expect(exposed).toBeCloseTo(
      sent.reduce((sum, seconds) => sum + seconds, 0),
      9,
    );
  });

  test("are not hidden where there is nothing to compute", () => {
    const { all, exposed } = exchangeTime(gpt2, { ranks: 4, tokens: 1 }, machine, 0);
    expect(exposed).toBeCloseTo(all, 12);
    // 1.5 times the bytes over the bandwidth; 6 hops of 14 + 2 buckets and of 3 small messages
    const buckets = bucketBytes(gpt2).length;
    expect(all).toBeCloseTo((1.5 * 4 * 124_439_808) / 1e10 + 6e-5 * (buckets + 3), 9);
  });
});

describe("a step", () => {
  test("of one rank computes and updates, and exchanges nothing", () => {
    const time = stepTime(tiny, { ranks: 1, tokens: 100 }, machine);
    const compute = (100 * flopsPerToken(tiny)) / 1e12 + 2e-4;
    const optimizer = (28 * parametersOf(tiny)) / 1e11;
    expect(time).toEqual({ compute, exposed: 0, slowed: 0, optimizer, total: compute + optimizer });
    expect(stepTime(tiny, { ranks: 1, tokens: 100, shard: true }, machine)).toEqual(time);
  });

  test("with a divided optimizer updates a share, copies all and sends what is not its own", () => {
    const { optimizer } = stepTime(gpt2, { ranks: 4, tokens: 100, shard: true }, machine);
    const parameters = 124_439_808;
    // rounds of 25 MiB over 498 MB: 19, of three hops each
    const sent = (0.75 * 4 * parameters) / 1e10 + 19 * 3 * 1e-5;
    expect(optimizer).toBeCloseTo((7 + 8) * (parameters / 1e11) + sent, 9);
  });

  test("loses computation to the hidden part of the exchange alone", () => {
    const step = { ranks: 4, tokens: 1000 };
    const [free, slow] = [0, 0.5].map((contention) => stepTime(gpt2, step, { ...machine, contention }));
    const { all, exposed } = exchangeTime(gpt2, step, machine, free?.compute as number);
    expect(all).toBeGreaterThan(exposed);
    expect((slow?.total as number) - (free?.total as number)).toBeCloseTo(0.5 * (all - exposed), 12);
  });
});

describe("the memory of a rank", () => {
  test("is 16 bytes a parameter, and 8 + 8/n with ZeRO-1", () => {
    const stateOf = (ranks: number, shard: boolean) => memoryOf(gpt2, { ranks, tokens: 1, shard }, float32).state;
    expect([stateOf(8, false), stateOf(1, true), stateOf(8, true), stateOf(2, true)]).toEqual(
      [16, 16, 9, 12].map((bytes) => bytes * 124_439_808),
    );
    expect(stateOf(2 ** 40, true) / (8 * 124_439_808)).toBeCloseTo(1, 9);
  });

  test("grows with tokens by what blocks keep and by logits", () => {
    const { activations, state, total } = memoryOf(tiny, { ranks: 1, tokens: 3 }, float32);
    // 16 widths a block, as 2 bytes each; 10 logits and their gradients
    expect(activations).toBe(3 * (2 * 16 * 4 * 2 + 10 * 8));
    expect(total).toBe(state + activations);
  });
});

describe("the calibration", () => {
  const [windows, sums] = [
    [1, 16],
    [1, 2 ** 18, 2 ** 21],
  ] as const;
  const seconds = {
    ...Object.fromEntries(
      predictions(gpt2, machine, { seconds: {}, windows }).map(({ predicted }, i) => [
        `${gpt2.name} ${["local", "ranks", "shard"][i % 3]} ${windows[Math.floor(i / 3)]}`,
        predicted,
      ]),
    ),
    ...Object.fromEntries(
      sumPredictions(machine, { seconds: {}, sums }).map(({ predicted }, i) => [`sum ${sums[i]}`, predicted]),
    ),
    [`${gpt2.name} optimizer`]: (28 * 124_439_808) / 1e11,
  };

  test("finds the constants that gave the times", () => {
    const found = calibrated(gpt2, seconds, { windows, sums });
    for (const [name, value] of Object.entries(machine)) {
      expect(found[name as keyof Machine] / value).toBeCloseTo(1, 6);
    }
  });

  test("takes the slower rank of each round, and the median of rounds", () => {
    expect(slowest([{ a: [1, 5, 3] }, { a: [2, 1, 9] }])).toEqual({ a: 5 });
  });

  test("lays a line through points, which neither falls nor begins below zero", () => {
    const { start, slope } = lineThrough([1, 2, 5].map((x) => [x, 3 + 2 * x]));
    expect(start).toBeCloseTo(3, 12);
    expect(slope).toBeCloseTo(2, 12);
    expect(lineThrough([1, 2].map((x) => [x, 3 - x])).slope).toBe(0);
    expect(lineThrough([1, 2].map((x) => [x, 3 * x - 1])).start).toBe(0);
  });
});

test("docs/scale.md has the tables that `bun bench/scale.ts --tables` prints", () => {
  const page = readFileSync(new URL("../../docs/scale.md", import.meta.url), "utf8");
  for (const line of [sizesOf(), ...tables()]) expect(page).toContain(line);
});
