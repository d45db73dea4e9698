// Every shrink rule against five applications by the reference implementation, each after an increment that stands for
// the optimizer's step; and what an engine reads for a rule and writes after it.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type BlockLayer, ModelBlocks } from "../../../workbench/gblr/blocks.ts";
import {
  adaptiveSoftshrink,
  budgetShrink,
  meanShrink,
  type ShrinkRule,
  type ShrinkState,
  type ShrinkStep,
  type Shrunk,
  softshrink,
  targetedSoftshrink,
} from "../../../workbench/gblr/shrink/index.ts";
import { adaptiveThreshold, targetedThreshold } from "../../../workbench/gblr/shrink/shift-rules.ts";
import { blockSizes, meanWidth } from "../../../workbench/gblr/widths.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectRefusal, liveTensors, read } from "../../engine/ops/operands.ts";
import { type GoldenTensor, readGolden } from "../../golden.ts";

const golden = readGolden("gblr/shrink.safetensors");
const LAYERS = [0, 1, 2];
const LEARNING_RATE = Number(golden.metadata.lr);
const BATCHES = Number(golden.metadata.num_training_batches);
const TOLERANCE = 1e-6;

type Threshold = (mean: number, step: ShrinkStep) => number;

interface Case {
  rule: () => ShrinkRule;
  /** the threshold in force, where the rule has one */
  threshold?: Threshold;
  /** the steps after which widths and locations were touched, if not all */
  applied?: boolean[];
}

const [cont, freeze] = [
  { threshold: 4, target: 0.2, approach: 2 },
  { threshold: 3, target: 0.36 },
];
const adaptive = { threshold: 0.5, target: 0.2, startThreshold: 2, startEpoch: 2, endEpoch: 4 };
/** the reference's start threshold here is three times the threshold */
const multiple = { threshold: 0.5, target: 0.45, startThreshold: 3 * 0.5, startEpoch: 1, endEpoch: 3 };
const targeted =
  (options: Parameters<typeof targetedThreshold>[1]): Threshold =>
  (mean) =>
    targetedThreshold(mean, options);

const CASES: Record<string, Case> = {
  softshrink: { rule: () => softshrink({ threshold: 0.5 }), threshold: () => 0.5 },
  targeted: {
    rule: () => targetedSoftshrink({ threshold: 0.8, target: 0.3 }),
    threshold: targeted({ threshold: 0.8, target: 0.3 }),
  },
  targeted_zero_target: {
    rule: () => targetedSoftshrink({ threshold: 0.8, target: 0 }),
    threshold: targeted({ threshold: 0.8, target: 0 }),
  },
  targeted_cont: { rule: () => targetedSoftshrink(cont), threshold: targeted(cont) },
  targeted_freeze: {
    rule: () => targetedSoftshrink({ ...freeze, freeze: true }),
    threshold: targeted(freeze),
    applied: [true, true, true, false, false],
  },
  adaptive: {
    rule: () => adaptiveSoftshrink(adaptive),
    threshold: (mean, step) => adaptiveThreshold(mean, adaptive, step),
  },
  adaptive_mult: {
    rule: () => adaptiveSoftshrink(multiple),
    threshold: (mean, step) => adaptiveThreshold(mean, multiple, step),
  },
  mean: { rule: () => meanShrink({ target: 0.25 }) },
};

const toTensor = ({ values, shape }: GoldenTensor) => tf.tensor(Float32Array.from(values), shape, "float32");

/** The rules look at no sizes of samples. */
function startLayers(): BlockLayer[] {
  const variable = (name: string) => tf.tidy(() => tf.variable(toTensor(golden.get(name))));
  return LAYERS.map((i) => ({
    nIn: 10,
    nOut: 10,
    widths: variable(`init.widths.${i}`),
    locations: variable(`init.locations.${i}`),
  }));
}

function addIncrements(layers: readonly BlockLayer[], t: number): void {
  layers.forEach(({ widths, locations }, i) => {
    tf.tidy(() => widths.assign(tf.add(widths, toTensor(golden.get(`delta.${t}.widths.${i}`)))));
    tf.tidy(() => locations.assign(tf.add(locations, toTensor(golden.get(`delta.${t}.locations.${i}`)))));
  });
}

async function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = TOLERANCE) {
  expect(actual.length).toBe(expected.length);
  const distances = Array.from(expected, (value, i) => Math.abs(value - (actual[i] as number)));
  expect(Math.max(...distances)).toBeLessThanOrEqual(tolerance);
}

async function expectLayers(layers: readonly BlockLayer[], what: "widths" | "locations", name: string): Promise<void> {
  for (const [i, layer] of layers.entries()) {
    await expectNear(await read(layer[what]), golden.get(`${name}.${i}`).values);
  }
}

const disposeLayers = (layers: readonly BlockLayer[]): void => {
  tf.dispose(layers.map(({ widths, locations }) => [widths, locations]));
};

const stepOf = (name: string, t: number): ShrinkStep => {
  const [epoch, batch] = JSON.parse(golden.metadata[`${name}.steps`] as string)[t];
  return { epoch, batch, batchesPerEpoch: BATCHES, learningRate: LEARNING_RATE };
};

/** One increment and one application, compared before and after. */
async function stepAndCompare(
  name: string,
  { rule, blocks, t, state }: { rule: ShrinkRule; blocks: ModelBlocks; t: number; state: ShrinkState },
): Promise<Shrunk> {
  addIncrements(blocks.layers, t);
  await expectLayers(blocks.layers, "widths", `${name}.${t}.widths_before`);
  const shrunk = rule.apply(await blocks.read({ withMean: rule.usesMean }), stepOf(name, t), state);
  if (shrunk.applied) blocks.write(shrunk);
  await expectLayers(blocks.layers, "widths", `${name}.${t}.widths_after`);
  await expectLayers(blocks.layers, "locations", `${name}.${t}.locations_after`);
  return shrunk;
}

/** A rule's operands from widths and locations of one layer, (2, K) row by row each. */
const arrays = (widths: number[], locations: number[]) => ({
  sizes: blockSizes([{ nIn: 10, nOut: 10, blocks: widths.length / 2 }]),
  widths: Float32Array.from(widths),
  locations: Float32Array.from(locations),
  mean: 0.5,
});

const NOW = { epoch: 0, batch: 0, batchesPerEpoch: 1, learningRate: 1 };

forEachEngine("shrink rules", () => {
  for (const [name, { rule, threshold, applied = [true, true, true, true, true] }] of Object.entries(CASES)) {
    test(`${name} changes widths and locations as the reference does, step after step`, async () => {
      const before = liveTensors();
      const [blocks, each] = [new ModelBlocks(startLayers()), rule()];
      let state: ShrinkState = {};
      for (let t = 0; t < 5; t++) {
        const shrunk = await stepAndCompare(name, { rule: each, blocks, t, state });
        expect(shrunk.applied).toBe(applied[t] as boolean);
        state = JSON.parse(JSON.stringify(shrunk.state));
      }
      const { sizes, widths, mean } = await blocks.read({ withMean: true });
      await expectNear([mean], golden.get(`${name}.final_mean`).values);
      await expectNear([meanWidth(sizes, widths)], golden.get(`${name}.final_mean`).values);
      disposeLayers(blocks.layers);
      expect(liveTensors()).toEqual(before);
    });

    if (threshold) {
      test(`${name} has the reference's threshold in force`, async () => {
        for (let t = 0; t < 5; t++) {
          const layers = startLayers();
          layers.forEach(({ widths }, i) => {
            tf.tidy(() => widths.assign(toTensor(golden.get(`${name}.${t}.widths_before.${i}`))));
          });
          const { mean } = await new ModelBlocks(layers).read({ withMean: true });
          await expectNear([threshold(mean, stepOf(name, t))], [golden.get(`${name}.threshold`).values[t] as number]);
          disposeLayers(layers);
        }
      });
    }
  }

  test("late values are written as values that arrive at once where nothing has changed since, bit by bit", async () => {
    const [once, late] = [new ModelBlocks(startLayers()), new ModelBlocks(startLayers())];
    const shrunk = meanShrink({ target: 0.2 }).apply(await once.read({ withMean: true }), NOW, {});
    const flat = late.flat();
    once.write(shrunk);
    late.writeLate(shrunk, flat);
    const [expected, actual] = [await once.read(), await late.read()];
    expect(actual.widths).toEqual(expected.widths);
    expect(actual.locations).toEqual(expected.locations);
    flat.dispose();
    disposeLayers([...once.layers, ...late.layers]);
  });

  test("late values are added to what has changed since, within the ranges", async () => {
    const blocks = new ModelBlocks(startLayers());
    const flat = blocks.flat();
    const start = await blocks.read();
    const shrunk = softshrink({ threshold: 0.1 }).apply(start, NOW, {});
    addIncrements(blocks.layers, 0);
    const since = await blocks.read();
    blocks.writeLate(shrunk, flat);
    const after = await blocks.read();
    after.widths.forEach((width, i) => {
      const moved = (since.widths[i] as number) - (start.widths[i] as number) + (shrunk.widths[i] as number);
      expect(Math.abs(width - Math.min(Math.max(moved, 0), 1))).toBeLessThan(1e-6);
    });
    after.locations.forEach((location, i) => {
      const moved = (since.locations[i] as number) - (start.locations[i] as number) + (shrunk.locations[i] as number);
      const apart = Math.abs(location - (moved - Math.floor(moved)));
      expect(Math.min(apart, 1 - apart)).toBeLessThan(1e-6);
      expect(location >= 0 && location < 1).toBe(true);
    });
    flat.dispose();
    disposeLayers(blocks.layers);
  });

  test("the mean of a model without layers is refused", async () => {
    expectRefusal(() => new ModelBlocks([]).flat({ withMean: true }), "meanWidth: layers must be at least one, got 0");
  });
});

test("a frozen structure stays frozen, and the rule says so", () => {
  const rule = targetedSoftshrink({ ...freeze, freeze: true });
  const low = { ...arrays([0.5, 0.2], [-0.25, 1.5]), mean: 0.1 };
  const first = rule.apply(low, NOW, {});
  expect(first).toMatchObject({ applied: true, frozen: true, state: { frozen: true } });
  expect([...first.locations]).toEqual([0.75, 0.5]);
  const second = rule.apply(low, NOW, first.state);
  expect(second).toMatchObject({ applied: false, frozen: true, state: { frozen: true } });
  expect(second.widths).toBe(low.widths);
});

test("a location just below 0 wraps to 0, since 1 is out of range", () => {
  const { locations } = softshrink({ threshold: 1 }).apply(arrays([0, 0, 0, 0], [-1e-9, -0.25, 1, 2.5]), NOW, {});
  expect([...locations]).toEqual([0, 0.75, 0, 0.5]);
});

test("rules leave their operands alone", () => {
  const rules = [
    softshrink({ threshold: 0.1 }),
    meanShrink({ target: 0.1 }),
    budgetShrink({ target: 0.2, start: 0, end: 0 }),
  ];
  for (const rule of rules) {
    const [given, copy] = [
      arrays([0.5, 1.2, 0.7, -0.1], [0.1, 1.4, -0.3, 0.9]),
      arrays([0.5, 1.2, 0.7, -0.1], [0.1, 1.4, -0.3, 0.9]),
    ];
    rule.apply(given, NOW, {});
    expect(given).toEqual(copy);
  }
});

test("a budget for no layer is refused", () => {
  const budget = budgetShrink({ target: 0.5, start: 0, end: 0 });
  expectRefusal(
    () => budget.apply({ ...arrays([], []), sizes: blockSizes([]) }, NOW, {}),
    "budgetShrink: layers must be at least one, got 0",
  );
});

test("what does not fit is named", () => {
  expectRefusal(
    () => softshrink({ threshold: -1 }),
    "softshrink: threshold must be a finite number of at least 0, got -1",
  );
  expectRefusal(() => meanShrink({ target: 1 }), "meanShrink: target must be at least 0 and below 1, got 1");
  expectRefusal(
    () => targetedSoftshrink({ ...freeze, approach: 0 }),
    "targetedSoftshrink: approach must be a number above 0, got 0",
  );
  expectRefusal(
    () => adaptiveSoftshrink({ ...adaptive, startThreshold: -2 }),
    "adaptiveSoftshrink: startThreshold must be a finite number of at least 0, got -2",
  );
  expectRefusal(
    () => adaptiveSoftshrink({ ...adaptive, endEpoch: 1 }),
    "adaptiveSoftshrink: endEpoch must be at least startEpoch 2, got 1",
  );
});
