// The options of training: the task, batch sizes, learning rates, schedules, and when to evaluate and save. fit.ts
// applies them. A task defines data and loss, so that `fit` is the same for text, images and distillation.

import type { NamedTensorMap, Scalar } from "@tensorflow/tfjs-core";
import type { ProcessGroup } from "../distributed/process-group.ts";
import type { SigmaSchedule } from "../gblr/schedules.ts";
import type { ShrinkRule } from "../gblr/shrink/index.ts";
import type { Model } from "../models/model.ts";
import type { LoraOptions } from "./lora.ts";
import type { SampleMetrics } from "./metrics.ts";
import type { LearningRateSchedule, Span } from "./schedule.ts";

/** The value of a setting, as plain JSON. */
export type SettingValue = string | number | boolean | null;
/** Settings of a run as plain JSON. They are compared when the run is resumed. */
export type Settings = Readonly<Record<string, SettingValue>>;

/** The random seed of one forward pass in training. */
export interface LossOptions {
  /** seed of all random choices in this forward pass, such as dropout; differs between micro-batches */
  seed: number;
}

/** The random seed of the items of one micro-batch, and its place. */
export interface ReadOptions {
  /** seed of all random choices in these items, such as crops; differs between micro-batches */
  seed: number;
  /** completed optimizer steps */
  step: number;
  /** number of the micro-batch within the step, from 0 */
  index: number;
}

/** The position of data that can only be read in order. Each micro-batch of a step has its own. */
export interface DataPosition {
  /** positions of the micro-batches that this process has read, by their number, as of the beginning of a step; plain JSON */
  statesAt(step: number): Record<string, unknown>;
  /** goes on from these positions; called before the first `read` */
  resume(states: unknown): void;
  /** frees what is held to go on reading; called at the end */
  close(): Promise<void>;
}

/** A training task: reads batches and computes their loss. */
export interface Task {
  /** items per epoch, such as windows or images */
  readonly length: number;
  /** unit of rates, and its number per item, e.g. `{ name: "tokens", perItem: 1024 }` */
  readonly unit: { name: string; perItem: number };
  /** settings that a resumed run must share: data set, split, context, distillation, … */
  readonly settings: Settings;
  /**
   * Set if items can only be read in order: a checkpoint then has the position. Their numbers only count those of an epoch,
   * whose steps are all whole
   */
  readonly position?: DataPosition;
  /** Reads items as tensors, which the caller disposes of. Called one micro-batch ahead. Must not leak if it throws. */
  read(items: readonly number[], options: ReadOptions): Promise<NamedTensorMap>;
  /** Mean loss over the items of a batch; differentiable. Must not read from the device. */
  loss(batch: NamedTensorMap, options: LossOptions): Scalar;
}

/** Learning rates, weight decay and gradient clipping. */
export interface OptimizerOptions {
  /** peak learning rate of all parameters except widths and locations */
  learningRate: number;
  /** peak learning rate of widths and locations. Default `learningRate` */
  structureLearningRate?: number;
  /** β1 and β2 of AdamW. Default [0.9, 0.999]; for widths and locations they are always [0, 0.999] */
  betas?: readonly [number, number];
  /** ε of AdamW. Default 1e-8 */
  epsilon?: number;
  /** weight decay of all parameters except biases, normalization weights, widths and locations. Default 0 */
  weightDecay?: number;
  /** maximum norm of the gradient over all parameters. Default: no clipping */
  clipNorm?: number;
  /** learning rate schedule of all groups. Default `{ decay: "constant" }` */
  schedule?: LearningRateSchedule;
  /**
   * whether each of several processes keeps the moments of a share of the parameters only, updates these, and sends them to
   * the others. Results are the same. Default false
   */
  shard?: boolean;
}

/** Named values of each split, such as `{ validation: { nll: 3.1, perplexity: 22.2 } }`; all must be finite. */
export type Evaluation = Record<string, Record<string, number>>;

/** A text that the model has written. */
export type Sample = Pick<SampleMetrics, "prompt" | "text">;

/** How and when the model is evaluated during training. */
export interface EvaluationOptions {
  /** evaluates the model, whose masks are in evaluation mode; must dispose of its own tensors */
  run(options: { signal?: AbortSignal | undefined; step: number }): Promise<Evaluation>;
  /** texts that the model writes after an evaluation, in evaluation mode, on the first process only. Default none */
  samples?(options: { signal?: AbortSignal | undefined }): Promise<Sample[]>;
  /** time between evaluations. Default one epoch */
  every?: Span;
  /** whether to evaluate before the first step. Default true */
  first?: boolean;
}

/** When checkpoints are written, and how many are kept. */
export interface CheckpointOptions {
  /** time between checkpoints. Default one epoch */
  every?: Span;
  /** a checkpoint is also written when this many seconds have passed since the last one. Default 600 */
  seconds?: number;
  /** number of checkpoints that are kept. Default 2 */
  keep?: number;
}

/** Options of `fit`. */
export interface FitOptions {
  /** the model, which is trained in place */
  model: Model;
  task: Task;
  /** run folder, for metrics.jsonl and checkpoint/; created if it does not exist */
  folder: string;
  /** length of training */
  length: Span;
  /** items per optimizer step */
  batch: number;
  /** maximum items per forward pass. Default `batch` */
  microBatch?: number;
  /** whether the last, smaller batch of an epoch is used or dropped. Default `keep` */
  lastBatch?: "keep" | "drop";
  optimizer: OptimizerOptions;
  /**
   * trains adapters instead of parameters. They are merged into the model at every step. A run can be resumed only with
   * a model that has the values it had at the start. Default: all parameters are trained
   */
  lora?: LoraOptions | undefined;
  /** seed of the data order and of all random choices in training */
  seed: number;
  /** schedule of sigma. Default: the sigma of the model's masks does not change */
  sigma?: SigmaSchedule;
  /** shrink rule, applied after every optimizer step to all GBLR layers */
  shrink?: ShrinkRule;
  /**
   * n, steps between reads of widths. The rule is applied to the values after step k while training continues, and its
   * change is added before step k + n. Default 1, with which each step waits for its own read
   */
  shrinkEvery?: number;
  /** further settings that a resumed run must share, such as those of the shrink rule and the origin of the model */
  settings?: Settings;
  evaluation?: EvaluationOptions;
  checkpoint?: CheckpointOptions;
  /**
   * `auto`: resume from the newest checkpoint in the run folder if there is one; `never`: remove existing checkpoints
   * and start a new run; `require`: fail if there is no checkpoint. Default `auto`
   */
  resume?: "auto" | "never" | "require";
  /**
   * The processes of the run: each computes a part of the micro-batches, whose gradients are summed. All of them train
   * alike; the first one writes metrics and checkpoints. A process for which `microBatch` leaves none waits for the others
   */
  ranks?: ProcessGroup | undefined;
  /** ends the run after the current step, with a checkpoint */
  signal?: AbortSignal;
  /** clock in milliseconds. Default performance.now */
  clock?: () => number;
}
