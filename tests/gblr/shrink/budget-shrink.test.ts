// budgetShrink in a training loop: random steps stand for the optimizer's, the cost follows the schedule, and the matrix
// itself counts the same cost.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type BlockLayer, ModelBlocks } from "../../../workbench/gblr/blocks.ts";
import { GblrMatrix } from "../../../workbench/gblr/matrix.ts";
import { budgetAt } from "../../../workbench/gblr/schedules.ts";
import { budgetShrink, type ShrinkRule, type ShrinkState, type Shrunk } from "../../../workbench/gblr/shrink/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectRefusal, liveTensors, read, sample, toTensor } from "../../engine/ops/operands.ts";

const SHAPES = [
  { nIn: 48, nOut: 96, blocks: 40 },
  { nIn: 96, nOut: 48, blocks: 48 },
  { nIn: 64, nOut: 64, blocks: 60 },
];
const DENSE = SHAPES.reduce((sum, { nIn, nOut }) => sum + nIn * nOut, 0);
const SCHEDULE = { target: 0.25, start: 1, end: 4 };
const BATCHES = 4;

const uniform = (seed: number, blocks: number) =>
  tf.tidy(() => tf.variable(tf.sigmoid(toTensor(sample(seed, [2, blocks], 2)))));

const startLayers = (): BlockLayer[] =>
  SHAPES.map(({ nIn, nOut, blocks }, i) => ({
    nIn,
    nOut,
    widths: uniform(10 + i, blocks),
    locations: uniform(20 + i, blocks),
  }));

const variablesOf = (layers: BlockLayer[]) => layers.flatMap(({ widths, locations }) => [widths, locations]);

/** What an optimizer's step may do: a little up or down everywhere. */
function wander(layers: BlockLayer[], seed: number): void {
  variablesOf(layers).forEach((variable, i) => {
    tf.tidy(() => variable.assign(tf.add(variable, toTensor(sample(seed + i, variable.shape, 0.01)))));
  });
}

/** The cost as matrices of these widths count it, as a share of the dense ones'. */
async function countedCost(layers: BlockLayer[]): Promise<number> {
  let cost = 0;
  for (const { widths, locations, nIn, nOut } of layers) {
    const blocks = widths.shape[1] as number;
    const factors = { lr_weight1: tf.zeros([blocks, 1, nIn]), lr_weight2: tf.zeros([blocks, nOut, 1]) };
    cost += await new GblrMatrix({ ...factors, widths, locations }).cost();
    tf.dispose(Object.values(factors));
  }
  return cost / DENSE;
}

const timeOf = (step: number) => ({
  epoch: Math.floor(step / BATCHES),
  batch: step % BATCHES,
  batchesPerEpoch: BATCHES,
});

/** Applies the rule as training does, and keeps its state. */
class Course {
  state: ShrinkState = {};
  readonly blocks: ModelBlocks;
  private readonly rule: ShrinkRule;

  constructor(layers: BlockLayer[], rule: ShrinkRule) {
    [this.blocks, this.rule] = [new ModelBlocks(layers), rule];
  }

  async apply(step: number): Promise<Shrunk> {
    const shrunk = this.rule.apply(await this.blocks.read(), { ...timeOf(step), learningRate: 0.01 }, this.state);
    this.blocks.write(shrunk);
    this.state = shrunk.state;
    return shrunk;
  }
}

async function train(layers: BlockLayer[], course: Course, [first, end]: [number, number]): Promise<Shrunk[]> {
  const reports: Shrunk[] = [];
  for (let step = first; step < end; step++) {
    wander(layers, 100 * step);
    reports.push(await course.apply(step));
  }
  return reports;
}

forEachEngine("budgetShrink", () => {
  test("keeps the cost on its schedule and ends within 0.1 % of what was asked", async () => {
    const before = liveTensors();
    const layers = startLayers();
    const course = new Course(layers, budgetShrink(SCHEDULE));
    const from = (await course.apply(0)).relativeCost as number;
    const reports = await train(layers, course, [0, 5 * BATCHES]);
    reports.forEach(({ relativeCost }, step) => {
      expect(relativeCost).toBeLessThanOrEqual(budgetAt(SCHEDULE, from, timeOf(step)));
    });
    const cost = await countedCost(layers);
    expect(cost).toBe(reports.at(-1)?.relativeCost as number);
    expect(cost).toBeLessThanOrEqual(SCHEDULE.target);
    expect(cost).toBeGreaterThanOrEqual(0.999 * SCHEDULE.target);
    for (const variable of variablesOf(layers)) {
      const values = await read(variable);
      expect(values.every((value) => value >= 0 && value <= 1)).toBe(true);
    }
    for (const { locations } of layers) {
      expect((await read(locations)).every((value) => value < 1)).toBe(true);
    }
    tf.dispose(variablesOf(layers));
    expect(liveTensors()).toEqual(before);
  });

  test("continues from its state as if nothing had happened", async () => {
    const half = 2 * BATCHES + 1;
    const [straight, resumed] = [startLayers(), startLayers()];
    await train(straight, new Course(straight, budgetShrink(SCHEDULE)), [0, 5 * BATCHES]);
    const first = new Course(resumed, budgetShrink(SCHEDULE));
    await train(resumed, first, [0, half]);
    const second = new Course(resumed, budgetShrink(SCHEDULE));
    second.state = JSON.parse(JSON.stringify(first.state));
    await train(resumed, second, [half, 5 * BATCHES]);
    const [expected, actual] = [variablesOf(straight), variablesOf(resumed)];
    for (const [i, variable] of actual.entries()) {
      expect(await read(variable)).toEqual(await read(expected[i] as tf.Variable));
    }
    tf.dispose([...expected, ...actual]);
  });

  test("leaves a cost below the schedule as it is, lets it rise to the schedule and not fall", async () => {
    const layers = startLayers();
    const scale = (factor: number) =>
      tf.tidy(() => layers.map(({ widths }) => widths.assign(tf.minimum(tf.mul(widths, factor), 1))));
    const course = new Course(layers, budgetShrink({ target: 0.4, start: 0, end: 0 }));
    const apply = async (step: number) => (await course.apply(step)).relativeCost as number;
    const widthsNow = () => Promise.all(layers.map(({ widths }) => read(widths)));
    scale(0.2);
    const below = await widthsNow();
    const cost = await apply(0);
    expect(cost).toBeLessThan(0.3);
    expect(await widthsNow()).toEqual(below);
    scale(0.9);
    expect(await countedCost(layers)).toBeLessThan(0.95 * cost);
    expect(await apply(1)).toBe(cost);
    scale(1.1);
    const risen = await countedCost(layers);
    expect(await apply(2)).toBe(risen);
    scale(4);
    expect(await countedCost(layers)).toBeGreaterThan(0.45);
    expect(await apply(3)).toBeCloseTo(0.4, 3);
    tf.dispose(variablesOf(layers));
  });

  test("counts a layer as often as it is used", async () => {
    const layers = startLayers().map((layer, i) => ({ ...layer, uses: i === 0 ? 50 : 1 }));
    const { relativeCost } = await new Course(layers, budgetShrink({ target: 0.25, start: 0, end: 0 })).apply(0);
    const costs = await Promise.all(layers.map((layer) => countedCost([layer])));
    const shares = layers.map(({ nIn, nOut, uses }) => nIn * nOut * uses);
    const dense = shares.reduce((sum, share) => sum + share, 0);
    const counted = costs.reduce((sum, cost, i) => sum + cost * DENSE * (layers[i] as { uses: number }).uses, 0);
    expect(relativeCost).toBeCloseTo(counted / dense, 12);
    expect(relativeCost).toBeLessThanOrEqual(0.25);
    expect(relativeCost).toBeGreaterThanOrEqual(0.999 * 0.25);
    tf.dispose(variablesOf(layers));
  });

  test("names what does not fit", () => {
    const refuse = (change: object, message: string) =>
      expectRefusal(() => budgetShrink({ ...SCHEDULE, ...change }), `budgetShrink: ${message}`);
    refuse({ target: 0 }, "target must be above 0 and at most 1, got 0");
    refuse({ target: 1.5 }, "target must be above 0 and at most 1, got 1.5");
    refuse({ end: 0 }, "end must be at least start 1, got 0");
    refuse({ start: Number.NaN }, "start must be a finite number of epochs, got NaN");
  });
});
