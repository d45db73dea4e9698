// What follows each optimizer step on widths and locations: at once, or with reads every n steps whose values are applied
// exactly n steps later, however a run is interrupted.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { ModelBlocks } from "../../workbench/gblr/blocks.ts";
import { budgetShrink, meanShrink, type ShrinkRule, type ShrinkState } from "../../workbench/gblr/shrink/index.ts";
import { fit, type StepMetrics } from "../../workbench/train/index.ts";
import { StructureLearning } from "../../workbench/train/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { collect, fullOptions, timelessMetrics } from "./runs.ts";
import { numbersOf, smallModel, values } from "./small.ts";

// a busy machine takes long to flush a file
setDefaultTimeout(60_000);

let root: string;
let runs = 0;
const newFolder = () => join(root, `run-${runs++}`);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "structure-"));
});
afterAll(() => rm(root, { recursive: true }));

const STEPS = 11;
const momentOf = (step: number) => ({ epoch: 0, batch: step, batchesPerEpoch: STEPS, learningRate: 0.01 * (step + 1) });

/** Two layers of random widths and locations. */
const startBlocks = () =>
  new ModelBlocks(
    [6, 9].map((blocks, i) => ({
      nIn: 20,
      nOut: 30,
      widths: tf.tidy(() => tf.variable(tf.add(values(i, [2, blocks], 0.4), 0.5))),
      locations: tf.tidy(() => tf.variable(tf.add(values(10 + i, [2, blocks], 0.5), 0.5))),
    })),
  );

/** What an optimizer's step may do. */
function wander({ layers }: ModelBlocks, step: number): void {
  layers.forEach(({ widths, locations }, i) => {
    for (const [variable, seed] of [
      [widths, 100],
      [locations, 200],
    ] as const) {
      tf.tidy(() => variable.assign(tf.add(variable, values(seed + 10 * step + i, variable.shape, 0.05))));
    }
  });
}

const clamped = (width: number) => Math.min(Math.max(width, 0), 1);
const wrapped = (location: number) => {
  const rest = Math.fround(location - Math.floor(location));
  return rest < 1 ? rest : 0;
};

interface Values {
  widths: Float32Array;
  locations: Float32Array;
}

/** The same by definition, number by number: what is read after step k counts before step k + n. */
async function byDefinition(rule: ShrinkRule, every: number): Promise<Values[]> {
  const blocks = startBlocks();
  let state: ShrinkState = {};
  let read = await blocks.read({ withMean: true });
  const seen: Values[] = [];
  for (let step = 0; step < STEPS; step++) {
    wander(blocks, step);
    const now = await blocks.read({ withMean: true });
    const last = step === STEPS - 1;
    if (last || step % every === 0) read = now;
    if (last || (step + 1) % every === 0) {
      const shrunk = rule.apply(read, momentOf(last ? step : step + 1 - every), state);
      state = shrunk.state;
      const late = (part: keyof Values) =>
        now[part].map((value, i) => Math.fround(value - (read[part][i] as number)) + (shrunk[part][i] as number));
      blocks.write({ widths: late("widths").map(clamped), locations: late("locations").map(wrapped) });
    } else {
      blocks.write({ widths: now.widths.map(clamped), locations: now.locations });
    }
    const { widths, locations } = await blocks.read();
    seen.push({ widths, locations });
  }
  tf.dispose(blocks.layers.flatMap(({ widths, locations }) => [widths, locations]));
  return seen;
}

const RULES: Record<string, () => ShrinkRule> = {
  mean: () => meanShrink({ target: 0.3 }),
  budget: () => budgetShrink({ target: 0.2, start: 0, end: 0.5 }),
};

forEachEngine("learning of structure", () => {
  for (const [name, rule] of Object.entries(RULES)) {
    for (const every of [1, 2, 4]) {
      test(`${name}: reads every ${every} steps and applies what was read exactly ${every} later`, async () => {
        const expected = await byDefinition(rule(), every);
        const before = liveTensors();
        const blocks = startBlocks();
        const learning = new StructureLearning(blocks, { rule: rule(), every, steps: STEPS, momentOf });
        for (let step = 0; step < STEPS; step++) {
          wander(blocks, step);
          const summary = await learning.after(step);
          expect(summary !== undefined).toBe((step + 1) % every === 0 || step === STEPS - 1);
          const { widths, locations } = await blocks.read();
          expect({ widths, locations }).toEqual(expected[step] as Values);
        }
        await learning.dispose();
        tf.dispose(blocks.layers.flatMap(({ widths, locations }) => [widths, locations]));
        expect(liveTensors()).toEqual(before);
      });
    }
  }

  test("a run that reads every three steps ends as one left alone wherever it is stopped, bit by bit", async () => {
    const model = smallModel();
    const alone = newFolder();
    const steps = { length: { steps: 14 }, shrinkEvery: 3 };
    await collect(fullOptions(model, alone, steps));
    const [numbers, metrics] = [await numbersOf(model), await timelessMetrics(alone)];
    model.dispose();
    const lines = metrics.filter(({ kind }) => kind === "step") as unknown as StepMetrics[];
    const told = lines.filter(({ relativeCost }) => relativeCost !== undefined).map(({ step }) => step);
    expect(told).toEqual([3, 6, 9, 12, 14]);
    expect(lines.at(-1)?.relativeCost).toBeLessThanOrEqual(0.45);
    for (const at of [1, 7, 8, 9, 13]) {
      const folder = newFolder();
      const stop = new AbortController();
      const first = smallModel();
      for await (const event of fit(fullOptions(first, folder, { ...steps, signal: stop.signal }))) {
        if (event.kind === "step" && event.step === at) stop.abort();
      }
      first.dispose();
      const resumed = smallModel();
      const [started] = await collect(fullOptions(resumed, folder, steps));
      expect(started).toMatchObject({ kind: "resumed", step: at });
      expect(await numbersOf(resumed)).toEqual(numbers);
      expect(await timelessMetrics(folder)).toEqual(metrics);
      resumed.dispose();
    }
  });
});

test("a run that reads widths more rarely is another run, and no count of steps is refused", async () => {
  const folder = newFolder();
  await collect(fullOptions(smallModel(), folder, { length: { steps: 2 } }));
  const other = collect(fullOptions(smallModel(), folder, { length: { steps: 2 }, shrinkEvery: 2 }));
  await expect(other).rejects.toThrow("shrink every is absent, requested 2");
  const none = collect(fullOptions(smallModel(), newFolder(), { shrinkEvery: 0 }));
  await expect(none).rejects.toThrow("fit: shrinkEvery must be an integer of at least 1, got 0");
});
