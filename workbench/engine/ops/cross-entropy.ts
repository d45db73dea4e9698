// crossEntropy, the negative log-likelihood of class targets under a softmax, one loss a row. Saves the logits, the
// targets and one number a row (the log-sum-exp): no one-hot targets and no copy of the log-softmax.

import {
  add,
  cast,
  equal,
  exp,
  expandDims,
  fill,
  gather,
  greaterEqual,
  less,
  log,
  logicalAnd,
  max,
  maximum,
  mean,
  minimum,
  mul,
  range,
  reshape,
  scalar,
  sub,
  sum,
  type Tensor,
  where,
  zeros,
  zerosLike,
} from "@tensorflow/tfjs-core";
import { differentiable, runKernel } from "./differentiable.ts";
import {
  CROSS_ENTROPY,
  CROSS_ENTROPY_GRADIENT,
  type CrossEntropyAttributes,
  type CrossEntropyGradientInputs,
  type CrossEntropyInputs,
} from "./kernels.ts";
import { expectOperand, expectSetting } from "./operands.ts";
import { registerPortable } from "./register.ts";

export interface CrossEntropyOptions {
  /** rows with this target have loss and gradient 0; default -100, as in PyTorch */
  ignoreIndex?: number;
  /** the share of the target's probability that is spread evenly over all classes, 0 to 1; default 0 */
  labelSmoothing?: number;
}

/**
 * loss = lse(z) - (1-s) z[target] - s mean(z) for each row z of logits, s the label smoothing, lse the log-sum-exp.
 * The mean over rows is the caller's: with ignored rows it divides by their number or not, as the caller means.
 * A target outside 0 … classes-1 that is not `ignoreIndex` makes its row's loss and gradient NaN: looking for one
 * and naming it would make every call wait for the device.
 * @param logits float32 (rows, classes)
 * @param targets int32 (rows)
 * @returns float32 (rows)
 * @throws ShapeError when an operand does not fit
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { ignoreIndex = -100, labelSmoothing = 0 } = options;
  expectOperand("crossEntropy", { logits }, { dtype: "float32", shape: ["rows", "classes"] });
  expectOperand("crossEntropy", { targets }, { dtype: "int32", shape: [logits.shape[0] as number] });
  const [rows, classes] = logits.shape as [number, number];
  expectSetting("crossEntropy", { classes }, "at least 1", classes > 0 || rows === 0);
  expectSetting("crossEntropy", { ignoreIndex }, "an integer", Number.isInteger(ignoreIndex));
  expectSetting("crossEntropy", { labelSmoothing }, "from 0 to 1", labelSmoothing >= 0 && labelSmoothing <= 1);
  const attributes = { ignoreIndex, labelSmoothing };
  return differentiable({
    name: "crossEntropy",
    inputs: { logits },
    forward: () => {
      const [value, logSumExp] = runKernel(CROSS_ENTROPY, { logits, targets }, attributes) as [Tensor, Tensor];
      return { value, saved: [logits, targets, logSumExp] };
    },
    backward: (dy, saved) => ({
      logits: () => {
        const [logits, targets, logSumExp] = saved as [Tensor, Tensor, Tensor];
        return runKernel(CROSS_ENTROPY_GRADIENT, { dy, logits, targets, logSumExp }, attributes)[0] as Tensor;
      },
    }),
  });
}

// (rows): `values` where the target is a class, 0 where it is ignored, NaN where it is no class
function byTarget(values: Tensor, targets: Tensor, { classes, ignoreIndex }: { classes: number; ignoreIndex: number }) {
  const isClass = logicalAnd(greaterEqual(targets, 0), less(targets, classes));
  const counted = where(isClass, values, fill(values.shape, Number.NaN));
  return where(equal(targets, scalar(ignoreIndex, "int32")), zerosLike(values), counted);
}

// (rows): the logit of each row's target, of some class where the target is none
function targetLogits(logits: Tensor, targets: Tensor): Tensor {
  const [rows, classes] = logits.shape as [number, number];
  const column = maximum(minimum(targets, scalar(classes - 1, "int32")), scalar(0, "int32"));
  const rowStart = range(0, rows * classes, classes, "int32");
  return gather(reshape(logits, [rows * classes]), add(rowStart, column));
}

registerPortable<CrossEntropyInputs, CrossEntropyAttributes>(
  CROSS_ENTROPY,
  ({ logits, targets }, { ignoreIndex, labelSmoothing }) => {
    const [rows, classes] = logits.shape as [number, number];
    if (rows === 0) {
      return [zeros([0]), zeros([0])];
    }
    const largest = max(logits, -1, true);
    const logSumExp = add(log(sum(exp(sub(logits, largest)), -1)), reshape(largest, [rows]));
    const likely = mul(targetLogits(logits, targets), 1 - labelSmoothing);
    const loss = sub(logSumExp, labelSmoothing === 0 ? likely : add(likely, mul(mean(logits, -1), labelSmoothing)));
    return [byTarget(loss, targets, { classes, ignoreIndex }), logSumExp];
  },
);

// dz = (softmax(z) - (1-s) onehot(target) - s/classes) dy
registerPortable<CrossEntropyGradientInputs, CrossEntropyAttributes>(
  CROSS_ENTROPY_GRADIENT,
  ({ dy, logits, targets, logSumExp }, { ignoreIndex, labelSmoothing }) => {
    const [rows, classes] = logits.shape as [number, number];
    if (rows === 0) {
      return zeros(logits.shape);
    }
    const softmax = exp(sub(logits, expandDims(logSumExp, 1)));
    const isTarget = cast(equal(expandDims(targets, 1), range(0, classes, 1, "int32")), "float32");
    const wanted = add(mul(isTarget, 1 - labelSmoothing), labelSmoothing / classes);
    return mul(sub(softmax, wanted), expandDims(byTarget(dy, targets, { classes, ignoreIndex }), 1));
  },
);
