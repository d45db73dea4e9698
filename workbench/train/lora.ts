// Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) on the matrices of linear layers. For a dense layer the
// matrix is its weight, for a structured layer each of its factors. A matrix F is trained as F + (α/r) B A, in which only
// A and B change. For a factor each entry of B A is multiplied with its step size (structures/factor-sizes.ts), so that
// the matrix of the layer moves about as far as with an adapter of its own. The model always holds the sum, so
// evaluation, saving and masks need not know of adapters, and the saved model has the format and the cost of the model
// without them: zeros of pruned matrices stay zero. Gradients of the sum become gradients of A and B as soon as they are
// found, so the gradients of a whole model are never in memory.

import {
  add,
  cast,
  clone,
  dispose,
  keep,
  matMul,
  mul,
  notEqual,
  reshape,
  type Tensor,
  type Tensor2D,
  tidy,
  transpose,
  type Variable,
  variable,
  zeros,
} from "@tensorflow/tfjs-core";
import { chooseLayers, layersToConvert } from "../compress/index.ts";
import { mixSeed, uniform } from "../engine/core/random.ts";
import { expectSetting } from "../engine/ops/operands.ts";
import type { Parts, PassOn } from "../engine/tfjs/tape.ts";
import type { Model } from "../models/model.ts";
import { variableFrom } from "../models/variables.ts";
import type { Structure } from "../structures/structure.ts";
import { RunError } from "./events.ts";
import type { Settings } from "./options.ts";

/** Which parameters of a model get adapters, and their size. */
export interface LoraOptions {
  /** r, the rank of B A. A matrix with a smaller side gets the rank of that side */
  rank: number;
  /** α; the product B A is scaled by α/r. Default r */
  alpha?: number | undefined;
  /** `recipe`, or a pattern of names of layers, as in conversions. Default `recipe` */
  layers?: string | undefined;
  /** patterns of names of parameters that are trained in full, without adapters, e.g. `norm`, `bias`. Default none */
  full?: readonly string[] | undefined;
}

/** The settings that a resumed run must share. */
export const loraSettings = ({ rank, alpha = rank, layers = "recipe", full = [] }: LoraOptions): Settings => ({
  "lora rank": rank,
  "lora alpha": alpha,
  "lora layers": layers,
  "lora full": full.join(","),
  // Earlier checkpoints, in which all step sizes were 1, would be merged to other sums.
  "lora step sizes": "by factors",
});

/** The parameters that LoRA trains. */
interface LoraParameters {
  /** matrices that get adapters */
  adapted: readonly string[];
  /** parameters that are trained in full */
  full: readonly string[];
}

/**
 * Chooses the parameters that LoRA trains. Widths and locations of GBLR layers are never among them.
 * @throws ShapeError when a setting is out of range; EngineError or RunError when a pattern matches nothing; RunError when
 *   there is no matrix to train
 */
function loraParameters(model: Model, { rank, alpha = rank, layers, full = [] }: LoraOptions): LoraParameters {
  expectSetting("lora", { rank }, "an integer of at least 1", Number.isInteger(rank) && rank >= 1);
  expectSetting("lora", { alpha }, "a number above 0", alpha > 0 && Number.isFinite(alpha));
  const canLearn = (name: string): boolean => {
    const { trainable, dtype } = model.parameter(name);
    return trainable && dtype === "float32" && !isPlace(model, name);
  };
  const all = [...model.parameters.keys()].filter(canLearn).map((name) => ({ name }));
  const whole = new Set(
    full.flatMap((pattern) => chooseParameters(all, pattern, model.architecture.type).map(({ name }) => name)),
  );
  const adapted = layersToConvert(model, layers)
    .flatMap(({ name }) => model.layer(name).structure.parameterNames.map((own) => `${name}.${own}`))
    .filter((name) => canLearn(name) && model.parameter(name).rank >= 2 && !whole.has(name));
  if (adapted.length === 0) {
    throw new RunError(
      "lora: no chosen layer has a matrix that can be trained; choose others, or load trainable forms",
    );
  }
  return { adapted, full: [...whole] };
}

/**
 * Checks, before any work, that adapters fit a model. Training accepts any rank and gives each matrix at most that of its
 * smaller side, because the factors of a compressed layer may be smaller than the matrix that they replace.
 * @throws RunError when the rank is larger than every matrix; otherwise as `loraParameters` does
 */
export function expectLora(model: Model, options: LoraOptions): void {
  const { adapted } = loraParameters(model, options);
  const largest = Math.max(...adapted.map((name) => Math.min(...matrixShape(model.parameter(name).shape))));
  if (options.rank <= largest) return;
  throw new RunError(
    `lora: rank ${options.rank} is larger than the smaller side of every chosen matrix; give a rank of at most ${largest}`,
  );
}

/** Chooses parameters by a pattern, as layers are chosen, with an error message about parameters. */
function chooseParameters(all: { name: string }[], pattern: string, type: string): { name: string }[] {
  try {
    return chooseLayers(all, { pattern, model: type });
  } catch {
    throw new RunError(`lora: no parameter of ${type} that can be trained has "${pattern}" in its name`);
  }
}

/** Whether a parameter determines the place of a block. */
function isPlace(model: Model, name: string): boolean {
  return structureOf(model, name)?.places?.includes(name.slice(name.lastIndexOf(".") + 1)) ?? false;
}

/** The structure of the layer that has the parameter. */
const structureOf = (model: Model, name: string): Structure | undefined =>
  model.layers.get(name.slice(0, name.lastIndexOf(".")))?.structure;

/** Whether a parameter is a vector that is not trained and belongs to no linear layer. */
function isBuffer(model: Model, name: string): boolean {
  const { trainable, dtype, rank } = model.parameter(name);
  const isOfLayer = model.layers.has(name.slice(0, name.lastIndexOf(".")));
  return !trainable && dtype === "float32" && rank <= 1 && !isOfLayer;
}

/**
 * Rows and columns of a parameter as a matrix. A parameter with more than two axes, such as a stack of factors or a kernel,
 * is split between two of them into rows and columns, where the smaller side is largest.
 */
function matrixShape(shape: readonly number[]): [number, number] {
  const sizeOf = (axes: readonly number[]) => axes.reduce((product, side) => product * side, 1);
  const splits = shape
    .slice(1)
    .map((_, i): [number, number] => [sizeOf(shape.slice(0, i + 1)), sizeOf(shape.slice(i + 1))]);
  return splits.sort((one, other) => Math.min(...other) - Math.min(...one))[0] as [number, number];
}

/** The adapter of one parameter. */
interface Adapter {
  /** name of the parameter */
  name: string;
  /** the parameter of the model, which holds F + (α/r) S ∘ B A */
  parameter: Variable;
  /** F, which does not change */
  base: Tensor;
  /** (r, columns), uniform in ±1/√columns at the start */
  a: Variable;
  /** (rows, r), zero at the start */
  b: Variable;
  /** S, in a shape that broadcasts to that of F; undefined for ones */
  steps: Tensor | undefined;
  /** whether the sum is 0 where F is 0 */
  keepsZeros: boolean;
}

/** Random stream of adapters, independent of others. */
const STREAM = 0x6c6f7261;

/**
 * The adapters of a model. As long as they exist, only parameters that are trained in full are trainable. Must be
 * disposed of; the adapted parameters then keep the sums.
 */
export class Adapters {
  /** parameters that are trained in full */
  readonly full: readonly string[];
  /** buffers by name, such as the statistics of batch normalization, which a forward pass in training may change */
  readonly buffers: ReadonlyMap<string, Variable>;
  /** the chain rule from each adapted parameter to its adapter */
  readonly through: ReadonlyMap<Variable, PassOn>;
  private readonly adapters: readonly Adapter[];
  /** parameters that are not trainable as long as the adapters exist */
  private readonly frozen: readonly Variable[];
  /** α/r */
  private readonly scale: number;

  /**
   * @param seed of the initial values of A
   * @throws as `loraParameters` does
   */
  constructor(model: Model, options: LoraOptions, seed: number) {
    const { adapted, full } = loraParameters(model, options);
    const { rank, alpha = rank } = options;
    this.full = full;
    this.scale = alpha / rank;
    this.adapters = adapted.map((name, i) => {
      const parameter = model.parameter(name);
      const [rows, columns] = matrixShape(parameter.shape);
      const r = Math.min(rank, rows, columns);
      const key = mixSeed(seed * 65_537 + STREAM + i);
      const start = Float32Array.from(
        { length: r * columns },
        (_, at) => (2 * uniform(at, key) - 1) / Math.sqrt(columns),
      );
      return {
        name,
        parameter,
        base: keep(clone(parameter)),
        a: variableFrom(start, [r, columns]),
        b: tidy(() => variable(zeros([rows, r]))),
        steps: stepsOf(model, name),
        keepsZeros: structureOf(model, name)?.keepsZeros ?? false,
      };
    });
    this.buffers = new Map([...model.parameters].filter(([name]) => isBuffer(model, name)));
    this.frozen = [...model.parameters]
      .filter(([name, { trainable }]) => trainable && !full.includes(name))
      .map(([, parameter]) => parameter);
    for (const parameter of this.frozen) parameter.trainable = false;
    this.through = new Map(this.adapters.map((adapter) => [adapter.parameter, this.chainRule(adapter)]));
  }

  /** A and B of every adapter, by the names under which they are stored. */
  *variables(): Generator<[name: string, variable: Variable]> {
    for (const { name, a, b } of this.adapters) {
      yield [`${name}.lora_A`, a];
      yield [`${name}.lora_B`, b];
    }
  }

  /**
   * Sets every adapted parameter to F + (α/r) S ∘ B A, without the entries that stay 0. Must be called whenever A or B have
   * changed.
   */
  merge(): void {
    for (const { parameter, base, a, b, steps, keepsZeros } of this.adapters) {
      tidy(() => {
        const product = reshape(matMul(mul(b, this.scale), a as Tensor as Tensor2D), base.shape);
        const sum = add(base, steps ? mul(product, steps) : product);
        parameter.assign(keepsZeros ? mul(sum, cast(notEqual(base, 0), "float32")) : sum);
      });
    }
  }

  /** With G the gradient of the sum, times S: (α/r) Bᵀ G for A and (α/r) G Aᵀ for B. */
  private chainRule({ a, b, parameter, steps }: Adapter): PassOn {
    const [rows, columns] = [b.shape[0] as number, a.shape[1] as number];
    const [down, up] = [a, b] as Tensor[] as [Tensor2D, Tensor2D];
    const parts = (da: Tensor, db: Tensor): Parts => [
      [a, mul(da, this.scale)],
      [b, mul(db, this.scale)],
    ];
    const isCheaper = 2 * down.shape[0] * (rows + columns) < rows * columns;
    return {
      whole: (gradient) => {
        const matrix = reshape(steps ? mul(gradient, steps) : gradient, [rows, columns]) as Tensor2D;
        return parts(matMul(up, matrix, true), matMul(matrix, down, false, true));
      },
      // G = leftᵀ right has many more numbers than left B and right Aᵀ.
      ...(parameter.rank === 2 &&
        isCheaper && {
          product: (left, right) => {
            const [scaled, other] = withSteps(left, right, steps);
            return parts(
              matMul(matMul(scaled, up), other, true),
              matMul(scaled, matMul(other, down, false, true), true),
            );
          },
        }),
    };
  }

  /** Disposes of F, A and B, and makes the parameters of the model trainable again. */
  dispose(): void {
    for (const parameter of this.frozen) parameter.trainable = true;
    for (const { base, a, b, steps } of this.adapters) dispose([base, a, b, ...(steps ? [steps] : [])]);
  }
}

/** The step sizes of a parameter; undefined for ones. */
function stepsOf(model: Model, name: string): Tensor | undefined {
  const dot = name.lastIndexOf(".");
  const [layer, own] = [name.slice(0, dot), name.slice(dot + 1)];
  return tidy(() => {
    const sizes = structureOf(model, name)?.stepSizes?.(model.structureParameters(layer));
    return sizes?.[own] && keep(clone(sizes[own]));
  });
}

/** The operands of a gradient leftᵀ right, with step sizes of its rows, (rows, 1), or of its columns, (1, columns). */
function withSteps(left: Tensor2D, right: Tensor2D, steps: Tensor | undefined): [Tensor2D, Tensor2D] {
  if (!steps) return [left, right];
  return steps.shape[0] === 1 ? [left, mul(right, steps)] : [mul(left, transpose(steps)), right];
}
