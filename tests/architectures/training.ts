// What the tests of training share for all language models: dropout by a seed, and steps of gradient descent.

import { expect } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { languageLoss, type Model } from "../../workbench/models/index.ts";
import { ids, taken } from "../models/tiny.ts";

type Logits = (dropoutSeed?: number) => Promise<Float32Array>;

/**
 * Expects that a seed determines which values drop.
 * @param none logits of the same model with rates of 0, in which no seed changes anything
 */
export async function expectSeededDropout(logits: Logits, none: Logits): Promise<void> {
  const [without, a, again, b] = [await logits(), await logits(5), await logits(5), await logits(6)];
  expect(a).toEqual(again);
  expect(a).not.toEqual(b);
  expect(a).not.toEqual(without);
  expect(await none()).toEqual(without);
  expect(await none(5)).toEqual(without);
}

/** Twelve steps of gradient descent. @returns the loss before each step, and the number of tensors after it */
export async function descent(model: Model, rate: number): Promise<{ losses: number[]; counts: number[] }> {
  const windows = ids(3, 10);
  const parameters = [...model.parameters.values()].filter(({ trainable }) => trainable);
  const [losses, counts]: [number[], number[]] = [[], []];
  for (let step = 0; step < 12; step++) {
    const { value, grads } = tf.variableGrads(() => languageLoss(model, windows, { dropoutSeed: step }), parameters);
    losses.push((await taken(value))[0] as number);
    for (const variable of parameters) {
      tf.tidy(() => variable.assign(tf.sub(variable, tf.mul(grads[variable.name] as tf.Tensor, rate))));
    }
    tf.dispose(grads);
    counts.push(tf.memory().numTensors);
  }
  windows.dispose();
  return { losses, counts };
}
