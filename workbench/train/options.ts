// What a run is given: the task that is learned, sizes, rates, schedules, and when to evaluate and save. Says what the
// settings mean; fit.ts applies them. A task is all that `fit` knows of data and loss: text, images and distillation
// differ in there only.

import type { NamedTensorMap, Scalar } from "@tensorflow/tfjs-core";
import type { SigmaSchedule } from "../gblr/schedules.ts";
import type { ShrinkRule } from "../gblr/shrink/index.ts";
import type { Model } from "../models/model.ts";
import type { LearningRateSchedule, Span } from "./schedule.ts";

/** Plain JSON that tells one setting from another. */
export type SettingValue = string | number | boolean | null;
/** Settings of a run as plain JSON values, which are compared when it is resumed. */
export type Settings = Readonly<Record<string, SettingValue>>;

/** The random seed of one forward pass in training. */
export interface LossOptions {
  /** of all random choices in this forward pass, dropout among them; differs from one micro-batch to the next */
  seed: number;
}

/** The random seed of the items of one micro-batch. */
export interface ReadOptions {
  /** of all random choices in these items, such as crops; differs from one micro-batch to the next */
  seed: number;
}

/** What a model is trained for: how batches are read, and their loss. */
export interface Task {
  /** items of one epoch: windows, images */
  readonly length: number;
  /** what rates are counted in, and how many of them an item is: `{ name: "tokens", perItem: 1024 }` */
  readonly unit: { name: string; perItem: number };
  /** settings that a resumed run must share: data set, split, context, distillation, … */
  readonly settings: Settings;
  /** The tensors of these items, for the caller to dispose. Called ahead of its turn; leaves none when it throws. */
  read(items: readonly number[], options: ReadOptions): Promise<NamedTensorMap>;
  /** Mean loss over the items of a batch; differentiable; reads nothing from the device. */
  loss(batch: NamedTensorMap, options: LossOptions): Scalar;
}

/** Learning rates, weight decay and gradient clipping. */
export interface OptimizerOptions {
  /** highest rate of everything but widths and locations */
  learningRate: number;
  /** highest rate of widths and locations. Default `learningRate` */
  structureLearningRate?: number;
  /** default [0.9, 0.999]; widths and locations have (0, 0.999) always */
  betas?: readonly [number, number];
  /** default 1e-8 */
  epsilon?: number;
  /** of everything but biases, normalization weights, widths and locations. Default 0 */
  weightDecay?: number;
  /** largest norm of the gradient over all parameters. Default: not clipped */
  clipNorm?: number;
  /** of all groups. Default `{ decay: "constant" }` */
  schedule?: LearningRateSchedule;
}

/** Named values of each split, such as `{ validation: { nll: 3.1, perplexity: 22.2 } }`; all must be finite. */
export type Evaluation = Record<string, Record<string, number>>;

/** What evaluates the model during training, and when. */
export interface EvaluationOptions {
  /** the model's masks are in evaluation mode meanwhile; tensors it makes are its own to dispose */
  run(options: { signal?: AbortSignal | undefined; step: number }): Promise<Evaluation>;
  /** default once an epoch */
  every?: Span;
  /** before the first step too. Default true */
  first?: boolean;
}

/** When checkpoints are written, and how many are kept. */
export interface CheckpointOptions {
  /** default once an epoch */
  every?: Span;
  /** and whenever so many seconds have passed since the last one. Default 600 */
  seconds?: number;
  /** how many are kept. Default 2 */
  keep?: number;
}

/** Everything that a training run is given. */
export interface FitOptions {
  /** changed in place */
  model: Model;
  task: Task;
  /** of this run, for metrics.jsonl and checkpoint/; created if it does not exist */
  folder: string;
  /** how long to train */
  length: Span;
  /** items of one optimizer step */
  batch: number;
  /** items of one forward pass, at most. Default `batch` */
  microBatch?: number;
  /** what to do with an epoch's last items when they do not fill a batch. Default `keep`: a smaller step */
  lastBatch?: "keep" | "drop";
  optimizer: OptimizerOptions;
  /** of the data's order and of every random choice in training */
  seed: number;
  /** default: the model's masks stay as they are */
  sigma?: SigmaSchedule;
  /** applied after every optimizer step to all GBLR layers */
  shrink?: ShrinkRule;
  /**
   * n, steps from one read of widths to the next. Values read after step k are put through the rule while training
   * continues, and the change is applied before step k + n. Default 1: each step waits for its own read
   */
  shrinkEvery?: number;
  /** further settings that a resumed run must share, such as those of the shrink rule and the origin of the model */
  settings?: Settings;
  evaluation?: EvaluationOptions;
  checkpoint?: CheckpointOptions;
  /**
   * `auto`: continue from the run folder's newest checkpoint if there is one; `never`: start anew and remove existing
   * checkpoints; `require`: fail if there is no checkpoint. Default `auto`
   */
  resume?: "auto" | "never" | "require";
  /** ends the run after the present step, with a checkpoint */
  signal?: AbortSignal;
  /** milliseconds. Default performance.now */
  clock?: () => number;
}
