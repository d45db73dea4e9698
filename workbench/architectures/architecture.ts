// What an architecture tells the rest of the workbench about itself: its config, the modules of its network, the names of
// its tensors. One object an architecture, one line in registry.ts. Forward passes are functions of their own: what they
// take and give differs from task to task.

import { type Counts, countNetwork, type LayerCosts } from "./count.ts";
import { type LayerInfo, layersIn, type Module, type ParameterInfo, parametersIn } from "./network.ts";

export interface Architecture<Config = unknown> {
  /** `model_type` of config.json */
  readonly type: string;
  /** in messages, e.g. `GPT-2` */
  readonly title: string;
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
  /** its modules, in the order in which they run and in which their parameters are saved */
  network(config: Config): readonly Module[];
  /**
   * Multiply-adds of the dense model that published tables divide by, rounded as there, for sizes that were published.
   * Default the reference's count of the dense model
   */
  publishedTotal?(config: Config): number | undefined;
  /**
   * What is to be dropped of a tensor that a checkpoint holds longer than the parameter is: rows behind, as vocabularies
   * are padded with. Default none
   */
  mayHaveMoreRows?(name: string): boolean;
}

/** Every parameter of the dense model, in the order in which they are saved. */
export const parametersOf = <Config>(architecture: Architecture<Config>, config: Config): Map<string, ParameterInfo> =>
  parametersIn(architecture.network(config));

/** Every linear layer and convolution that may be structured, in the order in which they run. */
export const layersOf = <Config>(architecture: Architecture<Config>, config: Config): LayerInfo[] =>
  layersIn(architecture.network(config));

/**
 * Multiply-adds of the model for one image or one full sequence.
 * @param costs a row, of structured layers; all others count as dense. Default none
 * @throws EngineError when it names a layer that the model does not have
 */
export const countModel = <Config>(
  architecture: Architecture<Config>,
  config: Config,
  costs: LayerCosts = {},
): Counts =>
  countNetwork(architecture.network(config), {
    title: architecture.title,
    costs,
    published: architecture.publishedTotal?.(config),
  });
