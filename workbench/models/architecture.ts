// What an architecture tells the rest of the workbench about itself: its config, its parameters' names and shapes, its
// linear layers, its operation counts. One object an architecture, one line in registry.ts. Forward passes are
// functions of their own: what they take and give differs from task to task.

import type { WeightLayout } from "../engine/ops/index.ts";
import type { Counts, LayerCosts } from "../structures/counting/count.ts";

/** A linear layer by the checkpoint's name, without `.weight`. */
export interface LayerInfo {
  name: string;
  nIn: number;
  nOut: number;
  /** how the dense weight lies in the checkpoint: GPT-2's is (n_in, n_out), most others' (n_out, n_in) */
  layout: WeightLayout;
}

export interface ParameterInfo {
  shape: readonly number[];
  /** what training from scratch starts with */
  start: { kind: "zeros" } | { kind: "ones" } | { kind: "normal"; deviation: number };
  /** running statistics and the like: saved, never trained. Default false */
  buffer?: boolean;
}

export interface Architecture<Config = unknown> {
  /** `model_type` of config.json */
  readonly type: string;
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
  /** the name of a parameter, or of a part of a layer, in a checkpoint with this prefix */
  storedName(name: string, prefix: string): string;
  /** the inverse; a name without the prefix comes back as it is */
  parameterName(stored: string, prefix: string): string;
  /** whether a checkpoint's tensor of this name is no parameter and is passed over: causal masks, tied heads */
  ignores(name: string, config: Config): boolean;
  /** every parameter of the dense model, in the order in which they are saved */
  parameters(config: Config): Map<string, ParameterInfo>;
  /** every linear layer, in the order in which they run; the weight of each is `<name>.weight` among the parameters */
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
