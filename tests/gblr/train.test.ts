// Twenty steps of training two GBLR layers, AdamW and MeanShrink, against the same run in float64: masks, products,
// gradients, optimizer and shrink rule together. Two starts: that of the GPT-2 recipe, and random spans.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type AdamwGroup, adamwStep, gelu } from "../../workbench/engine/ops/index.ts";
import { ModelBlocks } from "../../workbench/gblr/blocks.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { budgetShrink, meanShrink, type ShrinkRule, type ShrinkState } from "../../workbench/gblr/shrink/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors, read } from "../engine/ops/operands.ts";
import { type GoldenTensor, readGolden } from "../golden.ts";

const golden = readGolden("gblr/train.safetensors");
const STEPS = Number(golden.metadata.steps);
const LEARNING_RATE = Number(golden.metadata.lr);
const LAYERS = ["fc1", "fc2"] as const;
const TOLERANCE = { loss: 2e-6, trace: 5e-6, gradient: 1e-5 };

type Layer = Required<GblrParameters<tf.Variable>>;
type Network = Record<(typeof LAYERS)[number], Layer>;
const PARAMETERS = ["lr_weight1", "lr_weight2", "widths", "locations", "bias"] as const satisfies (keyof Layer)[];

const SETTINGS = { learningRate: LEARNING_RATE, betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0 } as const;
/** Which parameters an AdamW group holds, and how it differs. */
const GROUPS: { names: (keyof Layer)[]; change: Partial<AdamwGroup> }[] = [
  { names: ["lr_weight1", "lr_weight2"], change: { weightDecay: 0.1 } },
  { names: ["bias"], change: {} },
  { names: ["widths", "locations"], change: { betas: [0, 0.999] } },
];

const toTensor = ({ values, shape }: GoldenTensor) => tf.tensor(Float32Array.from(values), shape, "float32");

function startLayer(prefix: string): Layer {
  const entries = PARAMETERS.map((name) => {
    const value = toTensor(golden.get(`${prefix}.${name}`));
    const variable = tf.variable(value);
    value.dispose();
    return [name, variable];
  });
  return Object.fromEntries(entries);
}

const startNetwork = (start: string): Network => ({
  fc1: startLayer(`${start}.init.fc1`),
  fc2: startLayer(`${start}.init.fc2`),
});

function lossOf({ fc1, fc2 }: Network, x: tf.Tensor, y: tf.Tensor): tf.Scalar {
  const hidden = gelu(new GblrMatrix(fc1).apply(x));
  return tf.mean(tf.square(tf.sub(new GblrMatrix(fc2).apply(hidden), y)));
}

/** The optimizer's groups, with moments at zero and gradients still to come. */
function optimizerGroups(network: Network): { group: AdamwGroup; keys: string[] }[] {
  const layers = Object.values(network);
  return GROUPS.map(({ names, change }) => {
    const parameters = layers.flatMap((layer) => names.map((name) => layer[name]));
    const zeros = () => parameters.map((parameter) => tf.tidy(() => tf.variable(tf.zerosLike(parameter))));
    const moments = { firstMoments: zeros(), secondMoments: zeros() };
    const keys = parameters.map(({ name }) => name);
    return { group: { ...SETTINGS, ...change, ...moments, parameters, gradients: [] }, keys };
  });
}

/** The largest distance; around the circle for locations. */
async function distance(actual: tf.Tensor, expected: ArrayLike<number>, what = ""): Promise<number> {
  const values = await read(actual);
  expect(values.length).toBe(expected.length);
  const distances = Array.from(expected, (value, i) => {
    const apart = Math.abs(value - (values[i] as number));
    return what === "locations" ? Math.min(apart, Math.abs(1 - apart)) : apart;
  });
  return Math.max(...distances);
}

/** Every parameter of both layers with its golden name. */
const named = (network: Network) =>
  LAYERS.flatMap((layer) => PARAMETERS.map((name) => ({ layer, name, variable: network[layer][name] })));

async function expectFirstGradients(start: string, network: Network, grads: tf.NamedTensorMap): Promise<void> {
  for (const { layer, name, variable } of named(network)) {
    const { values } = golden.get(`${start}.f64.grad0.${layer}.${name}`);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = await distance(grads[variable.name] as tf.Tensor, values);
    expect(apart).toBeLessThanOrEqual(Math.max(TOLERANCE.gradient * largest, 1e-7));
  }
}

async function expectTrace(start: string, network: Network, step: number): Promise<void> {
  for (const layer of LAYERS) {
    for (const name of ["widths", "locations"] as const) {
      const { values } = golden.get(`${start}.f64.trace.${layer}.${name}`);
      const size = values.length / STEPS;
      const now = values.subarray(step * size, (step + 1) * size);
      expect(await distance(network[layer][name], now, name)).toBeLessThanOrEqual(TOLERANCE.trace);
    }
  }
}

interface Run {
  start: string;
  network: Network;
  groups: ReturnType<typeof optimizerGroups>;
  x: tf.Tensor;
  y: tf.Tensor;
}

const rule = meanShrink({ target: Number(golden.metadata.target_width) });

function startRun(start: string): Run {
  const network = startNetwork(start);
  const [x, y] = ["x", "y"].map((name) => toTensor(golden.get(`${start}.${name}`))) as [tf.Tensor, tf.Tensor];
  return { start, network, groups: optimizerGroups(network), x, y };
}

function optimize(groups: Run["groups"], grads: tf.NamedTensorMap, step: number): void {
  const gradientsOf = (keys: string[]) => keys.map((key) => grads[key] as tf.Tensor);
  const filled = groups.map(({ group, keys }) => ({ ...group, gradients: gradientsOf(keys) }));
  adamwStep(filled, { step: step + 1 }).dispose();
}

/** One step of the optimizer; the loss before it. */
async function learn({ network, groups, x, y }: Run, step: number): Promise<number> {
  const { value, grads } = tf.variableGrads(() => lossOf(network, x, y));
  optimize(groups, grads, step);
  const [loss] = await read(value);
  tf.dispose([value, grads]);
  return loss as number;
}

const blocksOf = (network: Network) =>
  new ModelBlocks(
    Object.values(network).map((layer) => {
      const { nIn, nOut } = new GblrMatrix(layer);
      return { ...layer, nIn, nOut };
    }),
  );

async function shrink(network: Network, rule: ShrinkRule, batch: number, state: ShrinkState = {}) {
  const blocks = blocksOf(network);
  const moment = { epoch: 0, batch, batchesPerEpoch: STEPS, learningRate: LEARNING_RATE };
  const shrunk = rule.apply(await blocks.read({ withMean: rule.usesMean }), moment, state);
  blocks.write(shrunk);
  return shrunk.state;
}

/** Loss and gradients, optimizer, shrink rule; compared after each. */
async function stepAndCompare({ start, network, groups, x, y }: Run, step: number): Promise<void> {
  const expected = (name: string) => [golden.get(`${start}.f64.${name}`).values[step] as number];
  const { value, grads } = tf.variableGrads(() => lossOf(network, x, y));
  expect(await distance(value, expected("loss"))).toBeLessThanOrEqual(TOLERANCE.loss);
  if (step === 0) {
    await expectFirstGradients(start, network, grads);
  }
  optimize(groups, grads, step);
  tf.dispose([value, grads]);
  const { mean } = await blocksOf(network).read({ withMean: true });
  expect(Math.abs(mean - (expected("mean_width_before_rule")[0] as number))).toBeLessThanOrEqual(TOLERANCE.trace);
  await shrink(network, rule, step);
  await expectTrace(start, network, step);
}

async function compareEnd({ start, network, x, y }: Run): Promise<void> {
  const last = tf.tidy(() => lossOf(network, x, y));
  expect(await distance(last, golden.get(`${start}.f64.final_loss`).values)).toBeLessThanOrEqual(TOLERANCE.loss);
  last.dispose();
  for (const { layer, name, variable } of named(network)) {
    const { values } = golden.get(`${start}.f64.final.${layer}.${name}`);
    expect(await distance(variable, values, name)).toBeLessThanOrEqual(TOLERANCE.trace);
  }
}

function disposeRun({ network, groups, x, y }: Run): void {
  tf.dispose([x, y, ...named(network).map(({ variable }) => variable)]);
  tf.dispose(groups.flatMap(({ group }) => [...group.firstMoments, ...group.secondMoments]));
}

forEachEngine("training", () => {
  for (const start of ["a", "b"]) {
    test(`follows twenty float64 steps from start ${start}: loss, gradients, structure, parameters`, async () => {
      const run = startRun(start);
      await stepAndCompare(run, 0);
      const afterOne = liveTensors();
      for (let step = 1; step < STEPS; step++) {
        await stepAndCompare(run, step);
      }
      expect(liveTensors()).toEqual(afterOne);
      await compareEnd(run);
      disposeRun(run);
    });
  }

  test("ends within 0.1 % of the cost that was asked for, and learns, with budgetShrink in the rule's place", async () => {
    const run = startRun("b");
    const { layers } = blocksOf(run.network);
    const budget = budgetShrink({ target: 0.3, start: 0, end: 0.5 });
    const losses: number[] = [];
    let state: ShrinkState = {};
    for (let step = 0; step < STEPS; step++) {
      losses.push(await learn(run, step));
      state = await shrink(run.network, budget, step, state);
    }
    const costs = await Promise.all(Object.values(run.network).map((layer) => new GblrMatrix(layer).cost()));
    const dense = layers.reduce((sum, { nIn, nOut }) => sum + nIn * nOut, 0);
    const relative = costs.reduce((sum, cost) => sum + cost, 0) / dense;
    expect(relative).toBeLessThanOrEqual(0.3);
    expect(relative).toBeGreaterThanOrEqual(0.999 * 0.3);
    expect(losses.at(-1)).toBeLessThan(0.98 * (losses[0] as number));
    disposeRun(run);
  });
});
