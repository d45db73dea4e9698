// A run whose GBLR layer is trained by its live blocks, with σ, widths and locations that change: it ends with the same
// bits when repeated, and when stopped and resumed, although plans are made anew in each step.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { LIVE_PLAN, LIVE_PRODUCT } from "../../workbench/engine/ops/gblr/kernels.ts";
import { meanShrink } from "../../workbench/gblr/shrink/index.ts";
import { Model } from "../../workbench/models/model.ts";
import { gblrStructure } from "../../workbench/structures/gblr.ts";
import { type FitOptions, fit, type Task } from "../../workbench/train/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { toTensor } from "../engine/ops/operands.ts";
import { operandsOf } from "../gblr/live-cases.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { numbersOf, smallModel, values } from "./small.ts";

const SIZE = { nIn: 160, nOut: 200, blocks: 40, rank: 1, rows: 32, sigma: 12 };
const STEPS = 8;
const at = temporaryFolder();

function oneLayer(): Model {
  const { architecture } = smallModel();
  const { lr_weight1, lr_weight2, widths, locations } = operandsOf(SIZE);
  const all = { lr_weight1, lr_weight2, widths, locations };
  const parameters = new Map(
    Object.entries(all).map(([name, operand]) => [`fc.${name}`, tf.variable(toTensor(operand))]),
  );
  const masks = { sigma: SIZE.sigma };
  const { nIn, nOut, rows } = SIZE;
  const layer = { name: "fc", nIn, nOut, rows, layout: "out_in", structure: gblrStructure(masks) } as const;
  return new Model({ architecture, config: {}, json: {}, parameters, layers: new Map([["fc", layer]]), masks });
}

/** Regression of random outputs on random inputs. */
function taskFor(model: Model): Task {
  return {
    length: 4,
    unit: { name: "batches", perItem: 1 },
    settings: {},
    read: async ([item = 0]) => ({
      x: values(item, [SIZE.rows, SIZE.nIn]),
      y: values(50 + item, [SIZE.rows, SIZE.nOut]),
    }),
    loss: ({ x, y }) => tf.mean(tf.square(tf.sub(model.linear("fc", x as tf.Tensor), y as tf.Tensor))) as tf.Scalar,
  };
}

async function trained(folder: string, stopAfter = STEPS): Promise<Record<string, number[]>> {
  const model = oneLayer();
  const stop = new AbortController();
  const options: FitOptions = {
    ...{ model, task: taskFor(model), folder, length: { steps: STEPS }, batch: 1, microBatch: 1, seed: 2 },
    optimizer: { learningRate: 0.01, structureLearningRate: 0.01 },
    sigma: { initial: 12, final: 16, startEpoch: 0, endEpoch: 2, every: "batch" },
    shrink: meanShrink({ target: 0.05 }),
    evaluation: { every: { steps: 100 }, first: false, run: async () => ({}) },
    signal: stop.signal,
  };
  for await (const event of fit(options)) if (event.kind === "step" && event.step === stopAfter) stop.abort();
  const numbers = await numbersOf(model);
  model.dispose();
  return numbers;
}

forEachEngine("training by live blocks", (engine) => {
  test("ends with the same bits when repeated, and when stopped and resumed", async () => {
    if (engine().name === "cpu") return;
    let alone: Record<string, number[]> = {};
    const { kernelNames } = await tf.profile(async () => {
      alone = await trained(at(`${engine().name}-alone`));
      return [];
    });
    // The plans are not all empty.
    expect(kernelNames.includes(LIVE_PRODUCT)).toBe(kernelNames.includes(LIVE_PLAN));
    expect(kernelNames.includes(LIVE_PLAN)).toBe(engine().name === "torch");
    expect(alone["fc.widths"]).not.toEqual([...operandsOf(SIZE).widths.values]);
    expect(await trained(at(`${engine().name}-again`))).toEqual(alone);
    await trained(at(`${engine().name}-stopped`), 3);
    expect(await trained(at(`${engine().name}-stopped`))).toEqual(alone);
  });
});
