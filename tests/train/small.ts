// A network of two layers, one of them a GBLR matrix, and a task for it: what runs are tested with that must take no time.
// Used by tests and by the processes that they kill; knows nothing of a test runner.

import * as tf from "@tensorflow/tfjs-core";
import type { Architecture } from "../../workbench/architectures/architecture.ts";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import { gelu } from "../../workbench/engine/ops/index.ts";
import { Model } from "../../workbench/models/model.ts";
import { dense } from "../../workbench/structures/dense.ts";
import { gblrStructure } from "../../workbench/structures/gblr.ts";
import type { Task } from "../../workbench/train/index.ts";

export const [INPUT, HIDDEN, OUTPUT, BLOCKS] = [12, 16, 5, 8];
const LAYERS = [
  { name: "fc1", nIn: INPUT, nOut: HIDDEN, layout: "out_in", rows: 1 },
  { name: "fc2", nIn: HIDDEN, nOut: OUTPUT, layout: "out_in", rows: 1 },
] as const;

const ARCHITECTURE = {
  type: "small",
  title: "small",
  prefixes: [""],
  network: () => LAYERS.map((layer) => ({ layer })),
} as unknown as Architecture;

export function values(seed: number, shape: number[], scale = 1): tf.Tensor {
  const uniform = seededUniform(seed);
  const size = shape.reduce((product, side) => product * side, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => scale * (2 * uniform() - 1)),
    shape,
  );
}

/** fc1 a GBLR matrix with a live and dead blocks, or dense; a normalization's gain; fc2 dense. */
export function smallModel({ structured = true } = {}): Model {
  const parameters = new Map<string, tf.Variable>();
  const add = (name: string, start: tf.Tensor, trainable = true) =>
    parameters.set(
      name,
      tf.tidy(() => tf.variable(start, trainable)),
    );
  tf.tidy(() => {
    if (structured) {
      add("fc1.lr_weight1", values(1, [BLOCKS, 1, INPUT], 0.6));
      add("fc1.lr_weight2", values(2, [BLOCKS, HIDDEN, 1], 0.6));
      add("fc1.widths", tf.add(tf.mul(values(3, [2, BLOCKS]), 0.3), 0.6));
      add("fc1.locations", tf.add(tf.mul(values(4, [2, BLOCKS]), 0.4), 0.5));
    } else {
      add("fc1.weight", values(1, [HIDDEN, INPUT], 0.3));
    }
    add("fc1.bias", values(5, [HIDDEN], 0.1));
    add("gain.weight", tf.ones([HIDDEN]));
    add("fc2.weight", values(6, [OUTPUT, HIDDEN], 0.3));
    add("fc2.bias", values(7, [OUTPUT], 0.1));
    add("seen", tf.tensor1d([1, 2, 3], "int32"), false);
  });
  const masks = {};
  const layers = new Map(
    LAYERS.map((layer) => [
      layer.name,
      { ...layer, structure: layer.name === "fc1" && structured ? gblrStructure(masks) : dense },
    ]),
  );
  return new Model({ architecture: ARCHITECTURE, config: {}, json: {}, parameters, layers, masks });
}

export function forward(model: Model, x: tf.Tensor): tf.Tensor {
  return tf.tidy(() => {
    const hidden = tf.mul(gelu(model.linear("fc1", x)), model.parameter("gain.weight"));
    return model.linear("fc2", hidden);
  });
}

/** Regression on a fixed random function, squared error; with noise on inputs that only seeds decide. */
export function smallTask(model: Model, { length = 40, noise = 0.05 } = {}): Task {
  const rowsOf = (seed: number, shape: number[], scale: number) => {
    const held = values(seed, shape, scale);
    const rows = held.arraySync() as number[][];
    held.dispose();
    return rows;
  };
  const teach = rowsOf(11, [INPUT, OUTPUT], 0.7);
  const inputs = rowsOf(12, [length, INPUT], 1);
  return {
    length,
    unit: { name: "rows", perItem: 1 },
    settings: { length, noise },
    async read(items, { seed }) {
      const uniform = seededUniform(seed);
      const clean = items.map((item) => inputs[item] as number[]);
      const x = clean.map((row) => row.map((value) => value + noise * (uniform() - 0.5)));
      const y = clean.map((row) =>
        Array.from({ length: OUTPUT }, (_, out) =>
          Math.sin(row.reduce((sum, value, i) => sum + value * (teach[i]?.[out] as number), 0)),
        ),
      );
      await Promise.resolve();
      return { x: tf.tensor2d(x), y: tf.tensor2d(y) };
    },
    loss: ({ x, y }) => tf.mean(tf.square(tf.sub(forward(model, x as tf.Tensor), y as tf.Tensor))) as tf.Scalar,
  };
}

/** Every parameter's numbers by name. */
export async function numbersOf(model: Model): Promise<Record<string, number[]>> {
  const found: Record<string, number[]> = {};
  for (const [name, parameter] of model.parameters) found[name] = [...(await parameter.data())];
  return found;
}
