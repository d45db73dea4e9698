// adamwStep: one AdamW update of all parameters in place, with settings for each group and clipping by the global norm.
// It is not an optimizer object: the caller keeps moments, step count and schedules. Loshchilov and Hutter 2019,
// Algorithm 2.

import {
  add,
  addN,
  div,
  minimum,
  mul,
  scalar,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  tidy,
  type Variable,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import { ADAMW, type AdamwAttributes, GRADIENT_NORM } from "./kernels.ts";
import { registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/**
 * Parameters that share their settings. The four lists have equal length, and tensors at the same index have equal
 * shape.
 */
export interface AdamwGroup {
  parameters: Variable[];
  gradients: Tensor[];
  /** running means of gradients; zeros before step 1 */
  firstMoments: Variable[];
  /** running means of squared gradients; zeros before step 1 */
  secondMoments: Variable[];
  learningRate: number;
  /** decay of the first and the second moment, each at least 0 and below 1 */
  betas: readonly [number, number];
  /** added to the root of the second moment */
  epsilon: number;
  /** each step subtracts this share of the parameter, times the learning rate */
  weightDecay: number;
}

/** Settings of one AdamW step. */
export interface AdamwOptions {
  /** counted from 1; corrects the bias of the moments towards zero */
  step: number;
  /** scales all gradients down so that their Euclidean norm is at most this; default: no clipping */
  clipNorm?: number;
  /** the gradients that have this norm together, if the groups have only some of them. Default: those of the groups */
  clipped?: readonly Tensor[];
}

/**
 * Updates parameters and moments in place. With g the (clipped) gradient, lr the learning rate, t the step:
 * p ← p - lr·decay·p;  m ← β₁m + (1-β₁)g;  v ← β₂v + (1-β₂)g²;  p ← p - lr·m̂ / (√v̂ + ε),
 * m̂ = m/(1-β₁ᵗ), v̂ = v/(1-β₂ᵗ), as torch.optim.AdamW. Before that, gradients are multiplied by
 * min(1, clipNorm / (norm + 1e-6)), as by torch.nn.utils.clip_grad_norm_. A norm that is not finite makes the parameters
 * NaN.
 * @returns the norm over all gradients before clipping, a float32 scalar
 * @throws ShapeError when lists differ in length, shapes differ, or a setting is out of range
 */
export function adamwStep(groups: readonly AdamwGroup[], { step, clipNorm, clipped }: AdamwOptions): Tensor {
  expectSetting("adamwStep", { step }, "an integer of at least 1", Number.isInteger(step) && step >= 1);
  expectSetting("adamwStep", { clipNorm }, "a number above 0", clipNorm === undefined || clipNorm > 0);
  groups.forEach(checkGroup);
  return tidy("adamwStep", () => {
    const norm = gradientNorm(clipped ?? groups.flatMap((group) => group.gradients));
    const scale = clipNorm === undefined ? undefined : minimum(div(clipNorm, add(norm, 1e-6)), 1);
    for (const group of groups) {
      stepGroup(group, step, scale);
    }
    return norm;
  });
}

/** The Euclidean norm over all of `gradients` together, a float32 scalar. */
export function gradientNorm(gradients: readonly Tensor[]): Tensor {
  if (gradients.length === 0) {
    return scalar(0);
  }
  return runKernel(GRADIENT_NORM, gradients)[0] as Tensor;
}

function checkGroup(group: AdamwGroup, index: number): void {
  const { parameters, gradients, firstMoments, secondMoments, learningRate, betas, epsilon, weightDecay } = group;
  const lists = { gradients, firstMoments, secondMoments };
  for (const [name, list] of Object.entries(lists)) {
    if (list.length !== parameters.length) {
      throw new ShapeError(
        `adamwStep: group ${index} must have as many ${name} as parameters, got ${list.length} for ${parameters.length}`,
      );
    }
    list.forEach((tensor, i) => {
      const { name: parameter, shape } = parameters[i] as Variable;
      expectOperand("adamwStep", { [`${name}[${i}] of ${parameter}`]: tensor }, { dtype: "float32", shape });
    });
  }
  const [beta1, beta2] = betas;
  expectSetting("adamwStep", { learningRate }, "a number of at least 0", learningRate >= 0);
  expectSetting(
    "adamwStep",
    { betas },
    "each at least 0 and below 1",
    [beta1, beta2].every((b) => b >= 0 && b < 1),
  );
  expectSetting("adamwStep", { epsilon }, "a number of at least 0", epsilon >= 0);
  expectSetting("adamwStep", { weightDecay }, "a number of at least 0", weightDecay >= 0);
}

function stepGroup(group: AdamwGroup, step: number, scale: Tensor | undefined): void {
  const { parameters, gradients, firstMoments, secondMoments, learningRate, betas, epsilon, weightDecay } = group;
  if (parameters.length === 0) {
    return;
  }
  const operands = [...parameters, ...gradients, ...firstMoments, ...secondMoments, ...(scale ? [scale] : [])];
  const [beta1, beta2] = betas;
  const settings: AdamwAttributes = {
    count: parameters.length,
    step,
    learningRate,
    beta1,
    beta2,
    epsilon,
    weightDecay,
  };
  runKernel(ADAMW, operands, settings);
}

// Sums rows first: a single running float32 sum over a large matrix would lose digits.
const sumOfSquares = (x: Tensor): Tensor => sum(x.rank > 1 ? sum(square(x), -1) : square(x));

registerPortable<readonly Tensor[]>(GRADIENT_NORM, (gradients) => {
  // The wasm backend does not write the result of a sum over an empty tensor.
  const filled = gradients.filter((gradient) => gradient.size > 0);
  return filled.length === 0 ? scalar(0) : sqrt(addN(filled.map(sumOfSquares)));
});

registerPortable<readonly Tensor[], AdamwAttributes>(ADAMW, (operands, { count, ...settings }) => {
  const scale = operands[4 * count];
  for (let i = 0; i < count; i++) {
    const [parameter, gradient, first, second] = [0, 1, 2, 3].map((list) => operands[list * count + i]);
    tidy(() => {
      const g = gradient as Tensor;
      updateOne([parameter, first, second] as Variable[], scale === undefined ? g : mul(g, scale), settings);
    });
  }
  return [];
});

function updateOne(variables: Variable[], gradient: Tensor, settings: Omit<AdamwAttributes, "count">): void {
  const [parameter, first, second] = variables as [Variable, Variable, Variable];
  const { step, learningRate, beta1, beta2, epsilon, weightDecay } = settings;
  const m = add(mul(first, beta1), mul(gradient, 1 - beta1));
  const v = add(mul(second, beta2), mul(square(gradient), 1 - beta2));
  const root = add(mul(sqrt(v), 1 / Math.sqrt(1 - beta2 ** step)), epsilon);
  const change = mul(div(m, root), learningRate / (1 - beta1 ** step));
  first.assign(m);
  second.assign(v);
  parameter.assign(sub(mul(parameter, 1 - learningRate * weightDecay), change));
}
