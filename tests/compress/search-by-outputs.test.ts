// Conversions by the search in the metric of outputs, on every engine: nearer in their outputs than low rank for no
// more cost, and the same model after saving and loading, though layers have numbers of blocks of their own.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import {
  type Covariances,
  calibrate,
  exportDense,
  planConversion,
  referenceTensors,
  windowInputs,
} from "../../workbench/compress/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  forInference,
  type Gpt2Config,
  languageHidden,
  type Model,
  prepareFolder,
  saveModelNow,
  storedConfig,
  writeModelFolder,
} from "../../workbench/models/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read, sampleIds } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { converted, TINY, tinyModel, tokens } from "./tiny.ts";

const at = temporaryFolder();
const BUDGET = 0.6;

const windows = {
  length: 8,
  context: TINY.n_positions,
  read: async (i: number) => sampleIds(i + 1, TINY.n_positions + 1, TINY.vocab_size),
};

async function covariancesOf(model: Model): Promise<Covariances> {
  const forward = (ids: tf.Tensor) => languageHidden(model, ids as tf.Tensor2D);
  const layers = [...model.layers.keys()];
  for await (const event of calibrate(model, windowInputs(windows, { samples: 8 }), { layers, forward })) {
    if (event.kind === "calibrated") return event.covariances;
  }
  throw new Error("the calibration did not end");
}

/** A tiny model whose layers were converted with what calibration found. */
async function convertedBy(init: "search" | "activation", structure = "gblr") {
  const model = tinyModel();
  const covariances = await covariancesOf(model);
  const plan = await planConversion(model, { structure, budget: BUDGET, allocation: "uniform" });
  const { layers, events } = await converted(model, plan, { init, covariances, seed: 4 });
  for (const covariance of covariances.values()) covariance.dispose();
  return { model, plan, layers, events };
}

async function logits(model: Model<Gpt2Config>): Promise<Float32Array> {
  const view = await forInference(model);
  const values = await read(tf.tidy(() => languageLogits(view, tokens(7))));
  view.dispose();
  return values;
}

forEachEngine("a conversion by the search", (_, { label }) => {
  let first: ReturnType<typeof convertedBy> | undefined;
  /** One conversion for all tests, none of which changes its model. */
  const searched = () => {
    first ??= convertedBy("search");
    return first;
  };

  test("is no farther in the outputs of any layer than low rank for no more cost, and mostly much nearer", async () => {
    const { plan, layers, events } = await searched();
    const plain = await convertedBy("activation", "lowrank");
    const ratios: number[] = [];
    for (const [i, { name, by, cost, outputError, allowed }] of layers.entries()) {
      expect(by).toBe("search");
      expect(cost).toBeLessThanOrEqual(plan.layers[i]?.cost as number);
      expect(cost).toBeLessThanOrEqual(allowed);
      const ratio = (outputError as number) / (plain.layers[i]?.outputError as number);
      expect(ratio).toBeLessThan(1 + 1e-4);
      ratios.push(ratio);
      const steps = events.flatMap((event) => (event.kind === "search" && event.name === name ? [event] : []));
      expect(steps.length).toBeGreaterThan(3);
    }
    expect(ratios.toSorted((a, b) => a - b)[2]).toBeLessThan(0.95);
    plain.model.dispose();
  });

  test("gives the same logits saved, loaded in both forms, made dense, and under the reference's names", async () => {
    const { model, layers } = await searched();
    const { nIn, nOut, name } = layers[0] as (typeof layers)[number];
    const [, blocks] = model.parameter(`${name}.widths`).shape as [number, number];
    expect(blocks).not.toBe(Math.min(nIn, nOut));
    const expected = await logits(model);
    const folder = at(`${label} searched`);
    await saveModelNow(model, folder, { trainable: true });
    for (const form of ["packed", "trainable"] as const) {
      const loaded = (await loadModelNow(folder, { form })) as Model<Gpt2Config>;
      expectClose(await logits(loaded), expected, { tolerance: 1e-4 });
      const reference = at(`${label} ${form} reference`);
      await prepareFolder(reference);
      const content = { model: await referenceTensors(loaded), config: await storedConfig(loaded, { layers: {} }) };
      for await (const _ of writeModelFolder(reference, content));
      const again = (await loadModelNow(reference)) as Model<Gpt2Config>;
      expectClose(await logits(again), expected, { tolerance: 1e-4 });
      again.dispose();
      exportDense(loaded);
      expectClose(await logits(loaded), expected, { tolerance: 1e-4 });
      loaded.dispose();
    }
  });

  test("gives identical layers in two runs, and leaves no tensors behind", async () => {
    const factors = async (model: Model) =>
      Promise.all(["lr_weight1", "widths"].map((name) => read(model.parameter(`h.1.mlp.c_proj.${name}`))));
    const expected = await factors((await searched()).model);
    // Tables of masks are kept from the first run on.
    const before = tf.memory().numTensors;
    const { model } = await convertedBy("search");
    expect(await factors(model)).toEqual(expected);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
