// What an architecture tells the rest of the workbench about itself: its config, its parameters' names and shapes, its
// linear layers and convolutions, its operation counts. One object an architecture, one line in registry.ts. Forward
// passes are functions of their own: what they take and give differs from task to task.

import type { WeightLayout } from "../engine/ops/index.ts";
import type { Counts, LayerCosts } from "./count.ts";

/** How a kernel moves over an image; rows and columns alike. */
export interface ConvolutionInfo {
  /** rows and columns */
  kernel: readonly [number, number];
  stride: number;
  /** zeros on each side of rows and columns */
  padding: number;
}

/**
 * A linear layer by the checkpoint's name, without `.weight`. A convolution is one too: of the patches under its kernel.
 */
export interface LayerInfo {
  name: string;
  /** of a convolution rows · columns · channels, in this order */
  nIn: number;
  nOut: number;
  /** how the dense weight lies in memory: GPT-2's and kernels (n_in, n_out), most others' (n_out, n_in) */
  layout: WeightLayout;
  convolution?: ConvolutionInfo;
  /** one position of a convolution's kernel as a layer of its own, from channels to channels; row by row from 0 */
  position?: { of: string; index: number; convolution: ConvolutionInfo };
}

export interface ParameterInfo {
  /** in memory */
  shape: readonly number[];
  /** what training from scratch starts with */
  start:
    | { kind: "zeros" }
    | { kind: "ones" }
    | { kind: "constant"; value: number }
    | { kind: "normal"; deviation: number }
    | { kind: "uniform"; bound: number };
  /** running statistics and the like: saved, never trained. Default false */
  buffer?: boolean;
  /** (rows, columns, in, out) in memory, (out, in, rows, columns) in checkpoints. Default false */
  kernel?: boolean;
}

export interface Architecture<Config = unknown> {
  /** `model_type` of config.json */
  readonly type: string;
  /** whether this config.json, which has no model_type, is its own: timm's say it in a field `architecture` */
  recognizes?(json: Readonly<Record<string, unknown>>): boolean;
  /**
   * @param json a config.json
   * @param file what errors call it
   * @throws ModelError naming the field that is missing or makes no sense
   */
  readConfig(json: Record<string, unknown>, file: string): Config;
  /**
   * What names in checkpoints can begin with, e.g. `transformer.`. A model is saved with the one it was read with, a new
   * one with the first.
   */
  readonly prefixes: readonly string[];
  /** what a model that was read with this prefix is saved with. Default the same */
  savedPrefix?(prefix: string): string;
  /** what names of a new model begin with. Default the first of `prefixes` */
  prefixOf?(config: Config): string;
  /** the name of a parameter, or of a part of a layer, in a checkpoint with this prefix */
  storedName(name: string, prefix: string): string;
  /** the inverse; a name without the prefix comes back as it is */
  parameterName(stored: string, prefix: string): string;
  /**
   * Tensors of such checkpoints that are several parameters in one, row after row, by their names in the file: timm's
   * `attn.qkv.weight` is three. Default none
   */
  joined?(config: Config, prefix: string): ReadonlyMap<string, readonly string[]>;
  /** whether a checkpoint's tensor of this name is no parameter and is passed over: causal masks, tied heads */
  ignores(name: string, config: Config): boolean;
  /** every parameter of the dense model, in the order in which they are saved */
  parameters(config: Config): Map<string, ParameterInfo>;
  /** every linear layer and convolution, in the order in which they run; the weight of each is `<name>.weight` among the parameters */
  layers(config: Config): LayerInfo[];
  /**
   * What is to be dropped of a tensor that a checkpoint holds longer than the parameter is: rows behind, as vocabularies
   * are padded with. Default none
   */
  mayHaveMoreRows?(name: string): boolean;
  /** whether the published recipe converts this layer */
  converts(layer: string): boolean;
  /** multiply-adds of the model with these costs of its structured layers */
  count(config: Config, costs: LayerCosts): Counts;
}
