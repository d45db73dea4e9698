// Vision models of PyTorch's beside ours: a reference script writes a checkpoint of random weights and says what PyTorch
// makes of it; here that is asked for, once a checkpoint, and held against what the workbench makes of the same folder.

import { expect } from "bun:test";
import { mkdirSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { crossEntropy } from "../../workbench/engine/ops/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { classifierLogits } from "../../workbench/models/index.ts";
import { taken } from "../models/tiny.ts";
import { askPython, pythonWith } from "../python/python.ts";
import { logitsOf } from "./small-vision.ts";

const python = pythonWith("torch");
export const hasTorch = python !== undefined;

/** What PyTorch makes of a checkpoint. Tensors are row by row; images (batch, height, width, 3). */
export interface Reference {
  images: number[];
  labels: number[];
  logits: number[];
  /** mean cross entropy in training, labels smoothed by 0.1 */
  loss: number;
  /** by names in the checkpoint */
  gradients: Record<string, number[]>;
  /** running statistics after one forward pass in training */
  buffers: Record<string, number[]>;
}

export interface VisionCase {
  /** folder with the reference script */
  script: "vit" | "resnet" | "mixer";
  config: Record<string, unknown>;
  image: number;
  classes: number;
  /** names in the checkpoint */
  gradients: readonly string[];
}

export const BATCH = 3;

const known = new Map<string, Promise<Reference>>();

/** Writes the checkpoint into the folder. */
export function askPyTorch(folder: string, { script, ...asked }: VisionCase): Promise<Reference> {
  const before = known.get(folder);
  if (before) return before;
  mkdirSync(folder, { recursive: true });
  const answer = askPython<Reference>(python, path.join(import.meta.dir, "./", script, "reference.py"), {
    args: [folder],
    input: JSON.stringify({ batch: BATCH, ...asked }),
  });
  known.set(folder, answer);
  return answer;
}

export function expectNear(values: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(values.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...expected.map((value, i) => Math.abs(value - (values[i] as number))));
  expect(worst / scale).toBeLessThan(tolerance);
}

export const imagesOf = ({ images }: Reference, size: number): tf.Tensor4D =>
  tf.tensor4d(Float32Array.from(images), [images.length / (3 * size * size), size, size, 3]);

/**
 * Loads the folder, and expects PyTorch's logits, loss in training, gradients and running statistics of it.
 * @param ours our names of a checkpoint's parameter, several where it is packed
 */
export async function expectAsPyTorch(
  folder: string,
  asked: VisionCase,
  ours: (stored: string) => readonly string[],
): Promise<void> {
  const expected = await askPyTorch(folder, asked);
  const model = await loadModelNow(folder);
  const images = imagesOf(expected, asked.image);
  expectNear(await logitsOf(model, images), expected.logits, 1e-4);
  const targets = tf.tensor1d(expected.labels, "int32");
  const wanted = asked.gradients.flatMap(ours).map((name) => model.parameter(name));
  const { value, grads } = tf.variableGrads(() => {
    const logits = classifierLogits(model, images, { training: true });
    return tf.mean(crossEntropy(logits, targets, { labelSmoothing: 0.1 })) as tf.Scalar;
  }, wanted);
  expectNear(await taken(value), [expected.loss], 1e-5);
  for (const stored of asked.gradients) {
    const parts = await Promise.all(ours(stored).map((name) => inFile(grads[model.parameter(name).name] as tf.Tensor)));
    expectNear(
      parts.flatMap((part) => [...part]),
      expected.gradients[stored] as number[],
      1e-4,
    );
  }
  for (const [stored, values] of Object.entries(expected.buffers)) {
    const [name] = ours(stored) as [string];
    expectNear(await model.parameter(name).data(), values, 1e-5);
  }
  tf.dispose([images, targets]);
  model.dispose();
}

/** As checkpoints have it: kernels (out, in, rows, columns). */
const inFile = (gradient: tf.Tensor): Promise<Float32Array> => {
  const turned = gradient.rank === 4 ? gradient.transpose([3, 2, 0, 1]) : gradient.clone();
  gradient.dispose();
  return taken(turned);
};
