// Losses of class targets under a softmax. `crossEntropy` takes logits; it saves the logits, the targets and the
// log-sum-exp of each row, but neither one-hot targets nor a copy of the log-softmax. `linearCrossEntropy` also
// computes the logits, from the hidden states and the weight of a language model's head. Logits are the largest tensor
// of training, so they are computed for a chunk of rows at a time and are not kept. If a gradient may be needed, the
// gradients of a chunk are computed together with its loss, so that no logits are computed twice (Wijmans et al. 2024,
// arXiv 2411.09009, do so in one kernel). Both use kernels that every backend has.

import {
  add,
  cast,
  concat,
  div,
  equal,
  exp,
  expandDims,
  fill,
  gather,
  greaterEqual,
  less,
  log,
  logicalAnd,
  matMul,
  max,
  maximum,
  mean,
  minimum,
  mul,
  type NamedTensorMap,
  range,
  reshape,
  type Scalar,
  scalar,
  slice,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  where,
  zeros,
  zerosLike,
} from "@tensorflow/tfjs-core";
import {
  CROSS_ENTROPY,
  CROSS_ENTROPY_GRADIENT,
  type CrossEntropyAttributes,
  type CrossEntropyGradientInputs,
  type CrossEntropyInputs,
} from "./kernels.ts";
import { linear } from "./linear.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions {
  /** rows with this target have loss and gradient 0; default -100, as in PyTorch */
  ignoreIndex?: number;
  /** the share of the target's probability that is spread evenly over all classes, 0 to 1; default 0 */
  labelSmoothing?: number;
}

/**
 * The cross entropy of each row: loss = lse(z) - (1-s) z[target] - s mean(z) for each row z of logits, s the label
 * smoothing, lse the log-sum-exp. The caller takes the mean over rows, and decides whether it counts ignored rows. A
 * target outside 0 … classes-1 that is not `ignoreIndex` makes the loss and the gradient of its row NaN. It is not an
 * error, because checking the targets would need a synchronization with the device at every call.
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

// (rows): the logit of each row's target; that of the first or last class where the target is out of range
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

/** Options of `linearCrossEntropy`. */
export interface LinearCrossEntropyOptions {
  /**
   * maximum number of logits in memory at a time; a chunk has at least one row. Default 2^25, which takes 134 MB, and
   * as much for their gradient
   */
  chunk?: number;
  /** whether the weight has no gradient, which saves a product as large as that of the logits. Default false */
  weightIsFixed?: boolean;
}

const CHUNK = 2 ** 25;
const ATTRIBUTES = { ignoreIndex: -100, labelSmoothing: 0 };

/**
 * The mean over rows of lse(z) - z[target], z = x Wᵀ. A target that is not a class makes the result NaN, as in
 * `crossEntropy`.
 * @param x float32 (rows, width), at least one row
 * @param weight float32 (classes, width)
 * @param targets int32 (rows)
 * @throws ShapeError when an operand does not fit
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Scalar {
  const chunks = checked("linearCrossEntropy", { x, weight, targets }, options);
  const { weightIsFixed = false } = options;
  const inputs: NamedTensorMap = weightIsFixed ? { x } : { x, weight };
  return differentiable({
    name: "linearCrossEntropy",
    inputs,
    forward: (recording) => {
      const loss = new Sum();
      const dWeight = new Sum();
      const dRows: Tensor[] = [];
      for (const [start, count] of chunks) {
        const parts = tidy(() => chunkLoss({ x, weight, targets }, { start, count, recording, weightIsFixed }));
        loss.add(parts.loss);
        if (parts.dRows) dRows.push(parts.dRows);
        if (parts.dWeight) dWeight.add(parts.dWeight);
      }
      const value = div(loss.total as Tensor, x.shape[0] as number);
      return { value, saved: recording ? [concat(dRows), ...(dWeight.total ? [dWeight.total] : [])] : [] };
    },
    backward: (dy, [dx, dWeight]) => ({
      x: () => mul(dx as Tensor, dy),
      weight: () => mul(dWeight as Tensor, dy),
    }),
  }) as Scalar;
}

/**
 * The negative log-likelihood of each row, lse(z) - z[target] with z = x Wᵀ, for evaluation. It has no gradient.
 * Operands, options and errors are those of `linearCrossEntropy`.
 * @returns float32 (rows)
 */
export function linearNll(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor1D {
  const chunks = checked("linearNll", { x, weight, targets }, options);
  return tidy("linearNll", () =>
    concat(
      chunks.map(([start, count]) =>
        tidy(() => {
          const logits = linear(rowsOf(x, start, count), weight);
          return runKernel(CROSS_ENTROPY, { logits, targets: slice(targets, start, count) }, ATTRIBUTES)[0] as Tensor1D;
        }),
      ),
    ),
  );
}

interface Operands {
  x: Tensor;
  weight: Tensor;
  targets: Tensor;
}

/** @returns start and count of the rows of each chunk */
function checked(
  op: string,
  { x, weight, targets }: Operands,
  { chunk = CHUNK }: LinearCrossEntropyOptions,
): [number, number][] {
  expectOperand(op, { x }, { dtype: "float32", shape: ["rows", "width"] });
  const [rows, width] = x.shape as [number, number];
  expectOperand(op, { weight }, { dtype: "float32", shape: ["classes", width] });
  expectOperand(op, { targets }, { dtype: "int32", shape: [rows] });
  const classes = weight.shape[0] as number;
  expectSetting(op, { rows }, "at least 1", rows > 0);
  expectSetting(op, { classes }, "at least 1", classes > 0);
  expectSetting(op, { chunk }, "a number above 0", chunk > 0);
  // All chunks have about the same size, because a product with a few rows is slow.
  const count = Math.ceil(rows / Math.ceil(rows / Math.max(1, Math.floor(chunk / classes))));
  return Array.from({ length: Math.ceil(rows / count) }, (_, i) => [i * count, Math.min(count, rows - i * count)]);
}

interface ChunkSettings {
  start: number;
  count: number;
  recording: boolean;
  weightIsFixed: boolean;
}

function chunkLoss(
  { x, weight, targets: all }: Operands,
  { start, count, recording, weightIsFixed }: ChunkSettings,
): { loss: Tensor; dRows?: Tensor; dWeight?: Tensor } {
  const rows = rowsOf(x, start, count);
  const targets = slice(all, start, count);
  const logits = linear(rows, weight);
  const [losses, logSumExp] = runKernel(CROSS_ENTROPY, { logits, targets }, ATTRIBUTES) as [Tensor, Tensor];
  const loss = sum(losses);
  if (!recording) return { loss };
  const dy = fill([count], 1 / (x.shape[0] as number));
  const [dLogits] = runKernel(CROSS_ENTROPY_GRADIENT, { dy, logits, targets, logSumExp }, ATTRIBUTES) as [Tensor2D];
  logits.dispose();
  const dRows = matMul(dLogits, weight as Tensor2D);
  return weightIsFixed ? { loss, dRows } : { loss, dRows, dWeight: matMul(dLogits, rows, true) };
}

const rowsOf = (x: Tensor, start: number, count: number): Tensor2D =>
  slice(x as Tensor2D, [start, 0], [count, x.shape[1] as number]);

/** A running sum of tensors. It disposes of the tensors that it has added. */
class Sum {
  total: Tensor | undefined;

  add(part: Tensor): void {
    const before = this.total;
    this.total = before ? add(before, part) : part;
    if (before) {
      before.dispose();
      part.dispose();
    }
  }
}
