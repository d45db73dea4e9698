// Every shrink rule against five applications by the reference implementation, each after an increment that stands for
// the optimizer's step.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import {
  adaptiveSoftshrink,
  adaptiveThreshold,
  budgetShrink,
  meanShrink,
  meanWidth,
  type ShrinkLayer,
  type ShrinkReport,
  type ShrinkRule,
  type ShrinkStep,
  softshrink,
  targetedSoftshrink,
  targetedThreshold,
} from "../../../workbench/gblr/shrink/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectRefusal, liveTensors, read } from "../../engine/ops/operands.ts";
import { type GoldenTensor, readGolden } from "../../golden.ts";

const golden = readGolden("gblr/shrink.safetensors");
const LAYERS = [0, 1, 2];
const LEARNING_RATE = Number(golden.metadata.lr);
const BATCHES = Number(golden.metadata.num_training_batches);
const TOLERANCE = 1e-6;

type Threshold = (mean: tf.Scalar, step: ShrinkStep) => tf.Scalar;

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
const multiple = { threshold: 0.5, target: 0.45, startMultiple: 3, startEpoch: 1, endEpoch: 3 };
const bounds = { min: [0.05, 0.1], max: [0.9, 0.8] } as const;
const fixed: Threshold = () => tf.scalar(0.5);
const targeted =
  (options: Parameters<typeof targetedThreshold>[1]): Threshold =>
  (mean) =>
    targetedThreshold(mean, options);

const CASES: Record<string, Case> = {
  softshrink: { rule: () => softshrink({ threshold: 0.5 }), threshold: fixed },
  softshrink_rate2: {
    rule: () => softshrink({ threshold: 0.5, rate: 2 }),
    threshold: fixed,
    applied: [false, true, false, true, false],
  },
  targeted: {
    rule: () => targetedSoftshrink({ threshold: 0.8, target: 0.3 }),
    threshold: targeted({ threshold: 0.8, target: 0.3 }),
  },
  targeted_zero_target: {
    rule: () => targetedSoftshrink({ threshold: 0.8, target: 0 }),
    threshold: targeted({ threshold: 0.8, target: 0 }),
  },
  targeted_bounds: {
    rule: () => targetedSoftshrink({ threshold: 0.8, target: 0.3, bounds }),
    threshold: targeted({ threshold: 0.8, target: 0.3 }),
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
  mean_half: { rule: () => meanShrink({ target: 0.25, strength: 0.5 }) },
};

const toTensor = ({ values, shape }: GoldenTensor) => tf.tensor(Float32Array.from(values), shape, "float32");

function startLayers(): ShrinkLayer[] {
  const variable = (name: string) => tf.tidy(() => tf.variable(toTensor(golden.get(name))));
  return LAYERS.map((i) => ({ widths: variable(`init.widths.${i}`), locations: variable(`init.locations.${i}`) }));
}

function addIncrements(layers: ShrinkLayer[], t: number): void {
  layers.forEach(({ widths, locations }, i) => {
    tf.tidy(() => widths.assign(tf.add(widths, toTensor(golden.get(`delta.${t}.widths.${i}`)))));
    tf.tidy(() => locations.assign(tf.add(locations, toTensor(golden.get(`delta.${t}.locations.${i}`)))));
  });
}

async function expectNear(actual: tf.Tensor, expected: ArrayLike<number>, tolerance = TOLERANCE): Promise<void> {
  const values = await read(actual);
  expect(values.length).toBe(expected.length);
  const distances = Array.from(expected, (value, i) => Math.abs(value - (values[i] as number)));
  expect(Math.max(...distances)).toBeLessThanOrEqual(tolerance);
}

const expectLayers = async (layers: ShrinkLayer[], what: "widths" | "locations", name: string): Promise<void> => {
  for (const [i, layer] of layers.entries()) {
    await expectNear(layer[what], golden.get(`${name}.${i}`).values);
  }
};

const disposeLayers = (layers: ShrinkLayer[]): void => {
  tf.dispose(layers.map(({ widths, locations }) => [widths, locations]));
};

/** One increment and one application, compared before and after. */
async function stepAndCompare(name: string, rule: ShrinkRule, layers: ShrinkLayer[], t: number): Promise<ShrinkReport> {
  addIncrements(layers, t);
  await expectLayers(layers, "widths", `${name}.${t}.widths_before`);
  const [epoch, batch] = JSON.parse(golden.metadata[`${name}.steps`] as string)[t];
  const report = await rule.apply(layers, { epoch, batch, batchesPerEpoch: BATCHES, learningRate: LEARNING_RATE });
  await expectLayers(layers, "widths", `${name}.${t}.widths_after`);
  await expectLayers(layers, "locations", `${name}.${t}.locations_after`);
  return report;
}

forEachEngine("shrink rules", () => {
  for (const [name, { rule, threshold, applied = [true, true, true, true, true] }] of Object.entries(CASES)) {
    test(`${name} changes widths and locations as the reference does, step after step`, async () => {
      const before = liveTensors();
      const [layers, each] = [startLayers(), rule()];
      for (let t = 0; t < 5; t++) {
        expect((await stepAndCompare(name, each, layers, t)).applied).toBe(applied[t] as boolean);
      }
      const mean = meanWidth(layers);
      await expectNear(mean, golden.get(`${name}.final_mean`).values);
      mean.dispose();
      disposeLayers(layers);
      expect(liveTensors()).toEqual(before);
    });

    if (threshold) {
      test(`${name} has the reference's threshold in force`, async () => {
        for (let t = 0; t < 5; t++) {
          const widths = LAYERS.map((i) => ({ widths: toTensor(golden.get(`${name}.${t}.widths_before.${i}`)) }));
          const [epoch, batch] = JSON.parse(golden.metadata[`${name}.steps`] as string)[t];
          const step = { epoch, batch, batchesPerEpoch: BATCHES, learningRate: LEARNING_RATE };
          const inForce = tf.tidy(() => threshold(meanWidth(widths), step));
          await expectNear(inForce, [golden.get(`${name}.threshold`).values[t] as number]);
          tf.dispose([inForce, ...widths.map((layer) => layer.widths)]);
        }
      });
    }
  }

  test("a frozen structure stays frozen when its state is restored, and says so", async () => {
    const [layers, rule] = [startLayers(), targetedSoftshrink({ ...freeze, freeze: true })];
    const reports: ShrinkReport[] = [];
    for (let t = 0; t < 3; t++) {
      reports.push(await stepAndCompare("targeted_freeze", rule, layers, t));
    }
    expect(reports.map(({ frozen }) => frozen)).toEqual([false, false, true]);
    const resumed = targetedSoftshrink({ ...freeze, freeze: true });
    resumed.restore(JSON.parse(JSON.stringify(rule.state())));
    expect(await stepAndCompare("targeted_freeze", resumed, layers, 3)).toEqual({ applied: false, frozen: true });
    disposeLayers(layers);
  });

  test("a location just below 0 wraps to 0, since 1 is out of range", async () => {
    const [widths, locations] = [
      tf.variable(tf.zeros([2, 2])),
      tf.variable(tf.tensor2d([-1e-9, -0.25, 1, 2.5], [2, 2])),
    ];
    await softshrink({ threshold: 1 }).apply([{ widths, locations }], {
      epoch: 0,
      batch: 0,
      batchesPerEpoch: 1,
      learningRate: 1,
    });
    expect(Array.from(await read(locations))).toEqual([0, 0.75, 0, 0.5]);
    tf.dispose([widths, locations]);
  });

  test("a model without layers is refused by rules that look at its widths", async () => {
    const step = { epoch: 0, batch: 0, batchesPerEpoch: 1, learningRate: 1 };
    expectRefusal(() => meanWidth([]), "meanWidth: layers must be at least one, got 0");
    await expect(meanShrink({ target: 0.5 }).apply([], step)).rejects.toThrow("layers must be at least one, got 0");
    const budget = budgetShrink({ target: 0.5, start: 0, end: 0 });
    await expect(budget.apply([], step)).rejects.toThrow("budgetShrink: layers must be at least one, got 0");
  });

  test("what does not fit is named", () => {
    expectRefusal(
      () => softshrink({ threshold: -1 }),
      "softshrink: threshold must be a finite number of at least 0, got -1",
    );
    expectRefusal(
      () => meanShrink({ target: 0.5, rate: 0 }),
      "meanShrink: rate must be an integer of at least 1, got 0",
    );
    expectRefusal(() => meanShrink({ target: 1 }), "meanShrink: target must be at least 0 and below 1, got 1");
    expectRefusal(
      () => targetedSoftshrink({ ...freeze, approach: 0 }),
      "targetedSoftshrink: approach must be a number above 0, got 0",
    );
    expectRefusal(
      () => targetedSoftshrink({ ...freeze, bounds: { min: [0.5, 0], max: [0.4, 1] } }),
      "targetedSoftshrink: bounds must be two pairs with 0 <= min <= max <= 1, got (0.5, 0) to (0.4, 1)",
    );
    expectRefusal(
      () => adaptiveSoftshrink({ ...adaptive, startMultiple: 2 }),
      "adaptiveSoftshrink: give either startThreshold or startMultiple, one of the two",
    );
    expectRefusal(
      () => adaptiveSoftshrink({ ...adaptive, endEpoch: 1 }),
      "adaptiveSoftshrink: endEpoch must be at least startEpoch 2, got 1",
    );
  });
});
