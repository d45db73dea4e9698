// How sensitive the loss is to errors of a layer's output, from gradients on calibration data. The loss is a sum of terms,
// one for each predicted token or image. If E is added to a layer's matrix W, the second-order estimate of the change of
// the loss per term is
//
//   ½ rows · tr(G E Σ Eᵀ),  G = E[g gᵀ],
//
// where g is the gradient of the loss by one row of the layer's output, Σ the covariance of the layer's inputs, and
// `rows` the number of rows for one term. It is the quadratic form of the empirical Fisher matrix in the approximation of
// Kronecker factors (Martens and Grosse 2015), with rows taken as independent. Labels of classifiers are drawn from the
// model's own predictions, so data need no labels.

import {
  add,
  clone,
  customGrad,
  type GradSaveFunc,
  keep,
  logSoftmax,
  matMul,
  mul,
  neg,
  oneHot,
  reshape,
  scalar,
  softmax,
  square,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  tensor1d,
  tidy,
  type Variable,
  variable,
  variableGrads,
  zeros,
  zerosLike,
} from "@tensorflow/tfjs-core";
import { languageLoss } from "../architectures/parts/language-model.ts";
import { type ApplyOptions, isLanguageModel, type LayerSource } from "../architectures/task.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { isOwn, type Sharing, shared } from "../distributed/shares.ts";
import { EngineError } from "../engine/core/errors.ts";
import { seededUniform } from "../engine/core/random.ts";
import { gelu } from "../engine/ops/index.ts";
import { classifierLogits } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { eventLoopTurn } from "../structures/structure.ts";
import { RunningMean, weightedSum } from "./running-mean.ts";

/** The sensitivity of the loss to errors of one layer. The owner disposes of the tensors. */
export interface Sensitivity {
  /** G, float32 (n_out, n_out); undefined if it was not requested */
  outputs: Tensor2D | undefined;
  /** number of rows of the layer for one term of the loss, such as a token or an image */
  rows: number;
  /** for each input of the layer, the sum over outputs of the mean of (∂L/∂W)², float32 (n_in) */
  importance: Tensor1D;
}

/** Several processes have the same inputs, which are dealt to them in turn. */
export interface SensitivityOptions extends Sharing {
  /** names of the layers */
  layers: readonly string[];
  /** whether G is computed. Default true */
  withOutputs?: boolean;
  /** seed of the labels of classifiers. Default 0 */
  seed?: number;
}

/** Progress of `sensitivities`; the last event has them by layer name. */
export type SensitivityEvent =
  | { kind: "progress"; inputs: number; rows: number }
  | { kind: "sensitivities"; sensitivities: Map<string, Sensitivity> };

/**
 * Computes the sensitivities of layers.
 * @param model the dense model, which is not changed
 * @param inputs token ids (batch, tokens) or images, which are used and disposed of one after the other. The loss of a
 *   language model is the negative log-likelihood of all tokens but the first
 * @throws EngineError when there is no input, or a layer receives none
 */
export async function* sensitivities(
  model: Model,
  inputs: AsyncIterable<Tensor>,
  { layers, withOutputs = true, seed = 0, ranks, signal }: SensitivityOptions,
): AsyncGenerator<SensitivityEvent, void> {
  const sums = new Map(layers.map((name) => [name, new LayerSums(model, name, withOutputs)]));
  let done = false;
  try {
    const shares = yield* shared("a calibration", summed(model, inputs, { sums, seed, ranks, signal }), {
      ranks,
      signal,
    });
    if (ranks) {
      for (const [i, each] of [...sums.values()].entries()) {
        await each.combine(
          ranks,
          shares.map(({ layers: counts }) => counts[i] as LayerCounts),
        );
      }
    }
    const total = (of: "count" | "terms") => shares.reduce((sum, share) => sum + share[of], 0);
    const unseen = layers.find((name) => sums.get(name)?.rows === 0);
    if (total("count") === 0 || unseen !== undefined) {
      throw new EngineError(
        `calibration: ${unseen ?? "no layer"} received no gradient from ${total("count")} inputs`,
        "use more data",
      );
    }
    done = true;
    const found = Array.from(sums, ([name, each]) => [name, each.result(total("terms"))] as const);
    yield { kind: "sensitivities", sensitivities: new Map(found) };
  } finally {
    if (!done) for (const each of sums.values()) each.dispose();
  }
}

/** What one process has added to the sums of a layer. */
interface LayerCounts {
  inputs: number;
  rows: number;
}

/** What one process has added to the sums. */
interface Share {
  /** sequences or images */
  count: number;
  /** terms of the loss */
  terms: number;
  /** in the order of the layers */
  layers: LayerCounts[];
}

/** Adds the inputs of this process to the sums of layers. */
async function* summed(
  model: Model,
  inputs: AsyncIterable<Tensor>,
  { sums, seed, ranks, signal }: Sharing & { sums: ReadonlyMap<string, LayerSums>; seed: number },
): AsyncGenerator<SensitivityEvent, Share> {
  const uniform = seededUniform(seed);
  const tapped = new TappedModel(model, sums);
  let [index, seen, count, terms] = [0, 0, 0, 0];
  try {
    for await (const input of inputs) {
      signal?.throwIfAborted();
      const [batch = 1] = input.shape;
      seen += batch;
      if (isOwn(ranks, index++)) {
        terms += await addInput(input, { model, tapped, uniform });
        count += batch;
      } else {
        // Another process draws the labels of this input. Its random numbers are passed over.
        if (!isLanguageModel(model)) for (let i = 0; i < batch; i++) uniform();
        input.dispose();
      }
      yield { kind: "progress", inputs: seen, rows: terms };
      await eventLoopTurn();
    }
  } finally {
    tapped.dispose();
  }
  return { count, terms, layers: Array.from(sums.values(), ({ counts }) => counts) };
}

/** Adds one input, which is disposed of, to sums. @returns number of terms of its loss */
async function addInput(
  input: Tensor,
  { model, tapped, uniform }: { model: Model; tapped: TappedModel; uniform: () => number },
): Promise<number> {
  const loss = isLanguageModel(model) ? textLoss(input as Tensor2D) : await labelLoss(model, input, uniform);
  try {
    tapped.run(loss.of);
  } finally {
    input.dispose();
    loss.labels?.dispose();
  }
  return loss.terms;
}

/** The loss of one input, as a sum of terms. */
interface Loss {
  of: (model: LayerSource) => Tensor;
  /** number of tokens or images that are predicted */
  terms: number;
  labels?: Tensor;
}

function textLoss(ids: Tensor2D): Loss {
  const [batch, length] = ids.shape;
  const terms = batch * (length - 1);
  return { of: (model) => mul(languageLoss(model, ids), terms), terms };
}

/** The cross-entropy of labels that are drawn from the predictions. */
async function labelLoss(model: Model, images: Tensor, uniform: () => number): Promise<Loss> {
  const predicted = tidy(() => softmax(classifierLogits(model, images as Tensor4D)));
  const [batch, classes] = predicted.shape;
  const chances = await predicted.data();
  predicted.dispose();
  const drawn = Int32Array.from({ length: batch }, (_, row) => {
    let left = uniform();
    let label = 0;
    while (label < classes - 1 && left >= (chances[row * classes + label] as number)) {
      left -= chances[row * classes + label++] as number;
    }
    return label;
  });
  const ids = tensor1d(drawn, "int32");
  const labels = tidy(() => oneHot(ids, classes).toFloat());
  ids.dispose();
  const of = (tapped: LayerSource) => neg(sum(mul(labels, logSoftmax(classifierLogits(tapped, images as Tensor4D)))));
  return { of, terms: batch, labels };
}

/** The sums of one layer. */
class LayerSums {
  /** number of rows so far */
  rows = 0;
  private readonly outputs: RunningMean | undefined;
  private importance: Variable | undefined;
  private inputs = 0;
  private readonly sizes: { nIn: number; nOut: number };

  constructor(model: Model, name: string, withOutputs: boolean) {
    this.sizes = model.layer(name);
    if (withOutputs) this.outputs = new RunningMean(this.sizes.nOut);
  }

  /**
   * Adds the rows of one input of the model.
   * @param x inputs of the layer, (…, n_in)
   * @param dy gradient by its output, (…, n_out)
   */
  take(x: Tensor, dy: Tensor): void {
    tidy(() => {
      this.outputs?.take(dy);
      this.rows += dy.size / this.sizes.nOut;
      const [rows, gradients] = [reshape(x, [-1, this.sizes.nIn]), reshape(dy, [-1, this.sizes.nOut])];
      const here = sum(square(matMul(gradients as Tensor2D, rows as Tensor2D, true)), 0);
      this.inputs++;
      this.importance ??= variable(zeros([this.sizes.nIn]), false);
      this.importance.assign(add(mul(this.importance, 1 - 1 / this.inputs), mul(here, 1 / this.inputs)));
    });
  }

  /** what has been added here */
  get counts(): LayerCounts {
    return { inputs: this.inputs, rows: this.rows };
  }

  /** Makes the sums those of all processes, all of which call this. @param shares what each has added */
  async combine(ranks: ProcessGroup, shares: readonly LayerCounts[]): Promise<void> {
    const total = (of: keyof LayerCounts) => shares.reduce((sum, share) => sum + share[of], 0);
    if (total("inputs") === 0) return;
    await this.outputs?.combine(
      ranks,
      shares.map(({ rows }) => rows),
    );
    const weight = this.inputs / total("inputs");
    this.importance = await weightedSum(this.importance, { shape: [this.sizes.nIn], weight, ranks });
    [this.inputs, this.rows] = [total("inputs"), total("rows")];
  }

  /** @param terms of the loss, over all inputs */
  result(terms: number): Sensitivity {
    const [outputs, importance] = [this.outputs?.mean, this.importance] as unknown as [Tensor2D | undefined, Tensor1D];
    return { outputs, importance, rows: this.rows / terms };
  }

  dispose(): void {
    this.outputs?.dispose();
    this.importance?.dispose();
  }
}

/** A model that adds the inputs of its layers and the gradients by their outputs to sums. */
class TappedModel implements LayerSource {
  private readonly model: Model;
  private readonly sums: ReadonlyMap<string, LayerSums>;
  /** the gradient by this number passes through all layers, and those by weights are not computed */
  private readonly origin = tidy(() => variable(scalar(0), true));
  /** inputs of layers in the present pass */
  private kept: Tensor[] = [];

  constructor(model: Model, sums: ReadonlyMap<string, LayerSums>) {
    [this.model, this.sums] = [model, sums];
  }

  get architecture() {
    return this.model.architecture;
  }

  get config() {
    return this.model.config;
  }

  parameter(name: string): Variable {
    return this.model.parameter(name);
  }

  hasLayer(name: string): boolean {
    return this.model.hasLayer(name);
  }

  linear(name: string, x: Tensor, { activation = "none" }: ApplyOptions = {}): Tensor {
    const y = this.tap(() => this.model.linear(name, x));
    return activation === "none" ? y : gelu(y, { approximate: activation === "gelu_tanh" ? "tanh" : "none" });
  }

  convolution(name: string, x: Tensor4D): Tensor4D {
    return this.tap(() => this.model.convolution(name, x)) as Tensor4D;
  }

  /** Runs the loss forward and backward. */
  run(loss: (model: LayerSource) => Tensor): void {
    tidy(() => void variableGrads(() => loss(this).asScalar(), [this.origin]));
    for (const tensor of this.kept) tensor.dispose();
    this.kept = [];
  }

  dispose(): void {
    this.origin.dispose();
    for (const tensor of this.kept) tensor.dispose();
  }

  /** Applies a layer, and keeps its inputs until the gradient by its output is known. */
  private tap(apply: () => Tensor): Tensor {
    const seen: (readonly [LayerSums, Tensor])[] = [];
    this.model.observer = (name, x) => {
      const own = this.sums.get(name);
      if (!own) return;
      const copy = keep(clone(x));
      this.kept.push(copy);
      seen.push([own, copy]);
    };
    let y: Tensor;
    try {
      y = apply();
    } finally {
      this.model.observer = undefined;
    }
    const passed = customGrad((...operands: (Tensor | GradSaveFunc)[]) => ({
      value: clone(operands[0] as Tensor),
      gradFunc: (dy: Tensor) => {
        for (const [own, x] of seen) own.take(x, dy);
        return [clone(dy), zerosLike(this.origin)];
      },
    }));
    return passed(y, this.origin);
  }
}
