// The optimizer of a run: parameter groups, moments and the step, which is the first half of Algorithm 1 in arXiv
// 2310.18882. The update itself is adamwStep; learning rates and clipping are set by options.

import { type Tensor, tidy, type Variable, variable, zeros } from "@tensorflow/tfjs-core";
import { Owners } from "../distributed/owners.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
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
  /** running means of its gradients and of their squares; undefined if another process keeps them */
  moments: readonly [Variable, Variable] | undefined;
}

/** A trained parameter that this process updates. */
type Updated = Learned & { moments: readonly [Variable, Variable] };

interface OptimizerParts extends OptimizerOptions {
  /** to train instead of the parameters; the caller disposes of them */
  adapters?: Adapters | undefined;
  /** the processes of the run */
  ranks?: ProcessGroup | undefined;
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

/** AdamW with three parameter groups, of one process or over several. Must be disposed of. */
export class Optimizer {
  /** all trainable float32 parameters, in the model's order; with adapters those, and the parameters trained in full */
  readonly learned: readonly Learned[];
  /** parameters of the model that training may change, by name; with adapters without those that have one */
  readonly changing: ReadonlyMap<string, Variable>;
  /** the chain rule from parameters that have adapters to these */
  readonly through: ReadonlyMap<Variable, PassOn> | undefined;
  /** the processes of the run that own its trained parameters; undefined for one process */
  private readonly owners: Owners | undefined;
  private readonly options: OptimizerParts;

  constructor(model: Model, options: OptimizerParts) {
    const { adapters, ranks, shard = false } = options;
    this.options = options;
    this.through = adapters?.through;
    const own = [...(adapters?.variables() ?? [])];
    const learning = [...model.parameters].filter(([name, { trainable, dtype }]) =>
      adapters ? adapters.full.includes(name) : trainable && dtype === "float32",
    );
    this.changing = adapters ? new Map([...adapters.buffers, ...learning]) : model.parameters;
    this.owners = ranks && new Owners(ranks, new Map([...own, ...learning]));
    const moment = ({ shape }: Variable) => tidy(() => variable(zeros(shape), false));
    const learned = (name: string, group: GroupName, parameter: Variable): Learned => ({
      ...{ name, group, parameter },
      moments: shard && !this.isOwn(parameter) ? undefined : [moment(parameter), moment(parameter)],
    });
    this.learned = [
      ...own.map(([name, parameter]) => learned(name, "weights", parameter)),
      ...learning.map(([name, parameter]) => learned(name, groupOf(model, name), parameter)),
    ];
  }

  /** Whether this process owns a trained parameter; one process owns all. */
  isOwn(parameter: Variable): boolean {
    return this.owners?.isOwn(parameter) ?? true;
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

  /**
   * Updates every parameter that has a gradient, and those with adapters. With `shard`, each process updates its own and
   * gets the others. The gradients still belong to the caller.
   */
  async step(gradients: ReadonlyMap<Variable, Tensor>, time: RateTime): Promise<void> {
    const rates = this.rates(time);
    const { clipNorm, shard, adapters } = this.options;
    const groups = (Object.keys(rates) as GroupName[]).map((name) => ({
      name,
      learned: this.learned.filter(({ group, parameter }) => group === name && gradients.has(parameter)),
    }));
    const changed = groups.flatMap(({ learned }) => learned.map(({ parameter }) => parameter));
    adamwStep(
      groups.map(({ name, learned }) => this.group(name, learned.filter(isUpdated), { rate: rates[name], gradients })),
      {
        step: time.step + 1,
        ...(clipNorm !== undefined && { clipNorm }),
        clipped: changed.map((parameter) => gradients.get(parameter) as Tensor),
      },
    ).dispose();
    if (shard) await this.owners?.exchange(changed);
    adapters?.merge();
  }

  private group(
    name: GroupName,
    updated: readonly Updated[],
    { rate, gradients }: { rate: number; gradients: ReadonlyMap<Variable, Tensor> },
  ): AdamwGroup {
    const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0 } = this.options;
    return {
      parameters: updated.map(({ parameter }) => parameter),
      gradients: updated.map(({ parameter }) => gradients.get(parameter) as Tensor),
      firstMoments: updated.map(({ moments }) => moments[0]),
      secondMoments: updated.map(({ moments }) => moments[1]),
      learningRate: rate,
      betas: name === "structure" ? STRUCTURE_BETAS : betas,
      epsilon,
      weightDecay: name === "weights" ? weightDecay : 0,
    };
  }

  /** Disposes of the moments. The parameters belong to the model. */
  dispose(): void {
    for (const { moments = [] } of this.learned) for (const moment of moments) moment.dispose();
  }
}

const isUpdated = (learned: Learned): learned is Updated => learned.moments !== undefined;
