// The training step of the bench on our engines: a two-layer GELU network, mean squared error and AdamW, with the fused
// ops. Its counterpart in PyTorch is `training` in ../engine_torch.py.

import * as tf from "@tensorflow/tfjs-core";
import { type AdamwGroup, adamwStep, linear } from "../../workbench/engine/ops/index.ts";
import type { Case } from "./cases.ts";

type Training = Extract<Case, { kind: "training" }>;

/** Makes the parameters; each call of the result is one step and returns its loss. */
export function trainingStep(
  { rows, width, hidden }: Training,
  uniform: (...shape: number[]) => tf.Tensor,
): () => tf.Tensor {
  const [x, target] = [uniform(rows, width), uniform(rows, width)];
  const shapes = [[hidden, width], [hidden], [width, hidden], [width]];
  const parameters = shapes.map((shape) => tf.variable(tf.mul(uniform(...shape), 1 / Math.sqrt(width))));
  const [weight1, bias1, weight2, bias2] = parameters as [tf.Variable, tf.Variable, tf.Variable, tf.Variable];
  const optimizer = adamwGroup(parameters);
  let step = 0;

  const loss = (): tf.Scalar => {
    const inner = linear(x, weight1, bias1, { activation: "gelu_tanh" });
    return tf.mean(tf.squaredDifference(linear(inner, weight2, bias2), target)) as tf.Scalar;
  };

  return () => {
    const { value, grads } = tf.variableGrads(loss, parameters);
    const gradients = parameters.map(({ name }) => grads[name] as tf.Tensor);
    adamwStep([{ ...optimizer, gradients }], { step: ++step });
    return value;
  };
}

/** AdamW with the settings of the benches; moments start at zero. */
export function adamwGroup(parameters: tf.Variable[]): Omit<AdamwGroup, "gradients"> {
  const zeros = () => parameters.map(({ shape }) => tf.variable(tf.zeros(shape), false));
  return {
    parameters,
    firstMoments: zeros(),
    secondMoments: zeros(),
    learningRate: 1e-4,
    betas: [0.9, 0.999],
    epsilon: 1e-8,
    weightDecay: 0.01,
  };
}
