// What is learned: how many items there are, how some of them are read, and the mean loss of a model on those. All that
// `fit` knows of a task; text, images and distillation differ in here only.

import type { NamedTensorMap, Scalar } from "@tensorflow/tfjs-core";

/** Plain JSON that tells one setting from another. */
export type SettingValue = string | number | boolean | null;
export type Settings = Readonly<Record<string, SettingValue>>;

export interface LossOptions {
  /** of all random choices in this forward pass, dropout among them; differs from one micro-batch to the next */
  seed: number;
}

export interface ReadOptions {
  /** of all random choices in these items, such as crops; differs from one micro-batch to the next */
  seed: number;
}

export interface Task {
  /** items of one epoch: windows, images */
  readonly length: number;
  /** what rates are counted in, and how many of them an item is: `{ name: "tokens", perItem: 1024 }` */
  readonly unit: { name: string; perItem: number };
  /** all that a run must agree in to be resumed: data set, split, context, distillation, … */
  readonly settings: Settings;
  /** The tensors of these items, for the caller to dispose. Called ahead of its turn; leaves none when it throws. */
  read(items: readonly number[], options: ReadOptions): Promise<NamedTensorMap>;
  /** Mean loss over the items of a batch; differentiable; reads nothing from the device. */
  loss(batch: NamedTensorMap, options: LossOptions): Scalar;
}
