// The optimizer of a run: parameter groups, moments and the step, which is the first half of Algorithm 1 in arXiv
// 2310.18882. The update itself is adamwStep; learning rates and clipping are set by options.

import { type Tensor, tidy, type Variable, variable, zeros } from "@tensorflow/tfjs-core";
import { type AdamwGroup, adamwStep } from "../engine/ops/index.ts";
import type { PassOn } from "../engine/tfjs/tape.ts";
import type { Model } from "../models/model.ts";
import type { Adapters } from "./lora.ts";
import type { OptimizerOptions } from "./options.ts";
import { learningRateAt, type RateTime } from "./schedule.ts";

/** The parameter groups, see `groupOf`. */
export type GroupName = "weights" | "plain" | "structure";

/** A trained parameter. */
export interface Learned {
  name: string;
  group: GroupName;
  parameter: Variable;
  /** running means of its gradients and of their squares */
  moments: readonly [Variable, Variable];
}

/**
 * The group of a parameter. `structure`: widths and locations of GBLR layers. `plain`: biases and other vectors, such
 * as the weights of normalizations; they have no weight decay. `weights`: all others.
 */
export function groupOf(model: Model, name: string): GroupName {
  const dot = name.lastIndexOf(".");
  const [layer, own] = [name.slice(0, dot), name.slice(dot + 1)];
  if (model.layers.get(layer)?.structure.places?.includes(own)) return "structure";
  return own === "bias" || model.parameter(name).rank <= 1 ? "plain" : "weights";
}

/** Widths and locations have no momentum: β1 is 0. */
const STRUCTURE_BETAS = [0, 0.999] as const;

/** AdamW with three parameter groups. Must be disposed of. */
export class Optimizer {
  /** all trainable float32 parameters, in the model's order; with adapters those, and the parameters trained in full */
  readonly learned: readonly Learned[];
  /** parameters of the model that training may change, by name; with adapters without those that have one */
  readonly changing: ReadonlyMap<string, Variable>;
  /** the chain rule from parameters that have adapters to these */
  readonly through: ReadonlyMap<Variable, PassOn> | undefined;
  private readonly options: OptimizerOptions;
  private readonly adapters: Adapters | undefined;

  /** @param adapters to train instead of the parameters; the caller disposes of them */
  constructor(model: Model, options: OptimizerOptions, adapters?: Adapters) {
    this.options = options;
    this.adapters = adapters;
    this.through = adapters?.through;
    const moment = ({ shape }: Variable) => tidy(() => variable(zeros(shape), false));
    const learned = (name: string, group: GroupName, parameter: Variable): Learned => ({
      ...{ name, group, parameter },
      moments: [moment(parameter), moment(parameter)],
    });
    const own = [...(adapters?.variables() ?? [])].map(([name, parameter]) => learned(name, "weights", parameter));
    const learning = [...model.parameters].filter(([name, { trainable, dtype }]) =>
      adapters ? adapters.full.includes(name) : trainable && dtype === "float32",
    );
    this.changing = adapters ? new Map([...adapters.buffers, ...learning]) : model.parameters;
    this.learned = [...own, ...learning.map(([name, parameter]) => learned(name, groupOf(model, name), parameter))];
  }

  /** The variables to compute gradients for. @param frozen whether to exclude widths and locations */
  variables({ frozen }: { frozen: boolean }): Variable[] {
    return this.learned.filter(({ group }) => !(frozen && group === "structure")).map(({ parameter }) => parameter);
  }

  /** Learning rates of the next step after `time.step` steps. */
  rates(time: RateTime): Record<GroupName, number> {
    const { learningRate, structureLearningRate = learningRate, schedule = { decay: "constant" } } = this.options;
    const rate = learningRateAt(schedule, learningRate, time);
    return { weights: rate, plain: rate, structure: learningRateAt(schedule, structureLearningRate, time) };
  }

  /** Updates every parameter that has a gradient, and those with adapters. The gradients still belong to the caller. */
  step(gradients: ReadonlyMap<Variable, Tensor>, time: RateTime): void {
    const rates = this.rates(time);
    const groups = (Object.keys(rates) as GroupName[]).map((name) => this.group(name, rates[name], gradients));
    const { clipNorm } = this.options;
    adamwStep(groups, { step: time.step + 1, ...(clipNorm === undefined ? {} : { clipNorm }) }).dispose();
    this.adapters?.merge();
  }

  private group(name: GroupName, learningRate: number, gradients: ReadonlyMap<Variable, Tensor>): AdamwGroup {
    const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0 } = this.options;
    const own = this.learned.filter(({ group, parameter }) => group === name && gradients.has(parameter));
    return {
      parameters: own.map(({ parameter }) => parameter),
      gradients: own.map(({ parameter }) => gradients.get(parameter) as Tensor),
      firstMoments: own.map(({ moments }) => moments[0]),
      secondMoments: own.map(({ moments }) => moments[1]),
      learningRate,
      betas: name === "structure" ? STRUCTURE_BETAS : betas,
      epsilon,
      weightDecay: name === "weights" ? weightDecay : 0,
    };
  }

  /** Disposes of the moments. The parameters belong to the model. */
  dispose(): void {
    for (const { moments } of this.learned) for (const moment of moments) moment.dispose();
  }
}
