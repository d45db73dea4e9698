// What an architecture tells the rest of the workbench about itself: its config, the modules of its network, the names of
// its tensors, its task with the forward pass, how it is recognized by its tensors, and its Python classes. One object an
// architecture, in a folder of its own; registry.ts lists them.

import type { Json } from "../../hub/checkpoint/index.ts";
import type { PythonClasses } from "../../hub/python/index.ts";
import type { TensorInfo, TensorSource } from "../../hub/safetensors/index.ts";
import { type Counts, countNetwork, type LayerCosts } from "./count.ts";
import { type LayerInfo, layersIn, type Module, type ParameterInfo, parametersIn } from "./network.ts";
import type { ImageSettings, UsualPreparation } from "./parts/image-terms.ts";
import type { LayerSource, Task } from "./task.ts";

type Fields = Record<string, unknown>;

/** What the workbench needs to know of a family of networks that share a forward pass. */
export interface Architecture<Config = unknown> {
  /** `model_type` of config.json */
  readonly type: string;
  /** in messages, e.g. `GPT-2` */
  readonly title: string;
  readonly task: Task<Config>;
  /**
   * @param json a config.json
   * @param file what errors call it
   * @throws ModelError naming the field that is missing or makes no sense
   */
  readConfig(json: Record<string, unknown>, file: string): Config;
  /** its modules, in the order in which they run and in which their parameters are saved */
  network(config: Config): readonly Module[];
  /**
   * Multiply-adds of the dense model that published tables divide by, rounded as there, for sizes that were published.
   * Default the reference's count of the dense model
   */
  publishedTotal?(config: Config): number | undefined;
  /** default PLAIN_NAMES: those of `network` */
  readonly names?: TensorNames<Config>;
  /** of timm's models, whose config.json has an `architecture` and no `model_type`. Default: it is none of timm's */
  readonly timm?: TimmNames;
  /** how a config.json is made for weights alone. Default: they are not recognized */
  readonly weights?: WeightsReader<Config>;
  /** default: the reference implementation has no such model */
  readonly reference?: ReferenceModels<Config>;
  /** default: Python cannot load its structured models */
  readonly python?: PythonClasses;
}

/** What tensors are called in checkpoints. Names of `network` are ours; each naming of checkpoints has a prefix. */
export interface TensorNames<Config = unknown> {
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
  /** names of tensors that repeat another one's values and are no parameters: tied heads. Default none */
  tied?(config: Config): readonly string[];
  /** whether a checkpoint's tensor of this name is no parameter and is passed over: causal masks. Default none is */
  ignores?(name: string, config: Config): boolean;
  /**
   * Whether a checkpoint's tensor may be longer than the parameter: rows behind are dropped, as vocabularies are padded
   * with. Default none
   */
  mayHaveMoreRows?(name: string): boolean;
  /** namings of state_dicts that are none of checkpoints. Default none */
  readonly others?: readonly OtherNames[];
}

/** Names of tensors in the memory of a program that are not those of its checkpoints. */
export interface OtherNames {
  /** whether a file has this naming */
  isUsedBy(tensors: ReadonlyMap<string, unknown>): boolean;
  /** the name in a checkpoint; undefined where it is the same */
  toCheckpoint(name: string): string | undefined;
  /** how images of such weights are usually prepared. Default as the task's */
  readonly preparation?: UsualPreparation;
}

/** The names of `network` themselves. */
const PLAIN_NAMES: TensorNames = {
  prefixes: [""],
  storedName: (name) => name,
  parameterName: (stored) => stored,
};

export const namesOf = <Config>({ names = PLAIN_NAMES }: Architecture<Config>): TensorNames<Config> => names;

/** Whether a checkpoint's tensor of this name, without its prefix, is no parameter and is passed over. */
export function isPassedOver<Config>(architecture: Architecture<Config>, name: string, config: Config): boolean {
  const { ignores, tied } = namesOf(architecture);
  return (ignores?.(name, config) ?? false) || (tied?.(config).includes(name) ?? false);
}

/** A family of timm's. */
export interface TimmNames {
  /** names, or what names begin with and `*`, for messages */
  readonly known: readonly string[];
  /** a small one, for messages */
  readonly example: string;
  /** whether timm's name of a model, with or without the tag of its weights, is of this family */
  isName(name: string): boolean;
  /** fields of `model_args` for sizes that can be chosen for a new model; those of others follow from the name */
  readonly sizes: { width?: string; blocks?: string; heads?: string; image?: string };
}

/** A checkpoint as readers see it: names without what the trainer put before them, in our naming. */
export interface WeightsFile {
  /** what errors call it */
  file: string;
  tensors: ReadonlyMap<string, TensorInfo>;
  /** everything that is no tensor */
  rest: { readonly [key: string]: Json };
  /** a tensor to an earlier one that is the same bytes */
  tied: ReadonlyMap<string, string>;
}

export interface ReadingOptions {
  /** attention heads, where the checkpoint does not tell. Default a head for each 64 of the width */
  heads?: number | undefined;
}

/** Images as recognized weights are said to want them. */
export type AssumedColors = Pick<ImageSettings, "size" | "mean" | "std">;

/** How weights without a config.json are recognized and described, by names and shapes alone. */
export interface WeightsReader<Config = unknown> {
  /** what the reader expects before names. Default nothing */
  readonly prefix?: string;
  /** of the tensor whose side on this axis is the width that attention heads divide. Default: there are no heads */
  readonly width?: readonly [tensor: string, axis: number];
  /** whether a checkpoint with these tensors is one */
  recognizes(tensors: ReadonlyMap<string, TensorInfo>): boolean;
  /**
   * config.json of the dense model, from shapes and hyper-parameters.
   * @throws ModelError when they do not tell
   */
  config(weights: WeightsFile, options: ReadingOptions): Fields;
  /**
   * The same in Hugging Face's words, for weights of images that have its names: config.json and
   * preprocessor_config.json. Default: it has no such names
   */
  forTransformers?(
    config: Config,
    weights: WeightsFile,
    images: AssumedColors,
  ): { config: Fields; preprocessor: Fields };
}

/** Checkpoints of the reference implementation. */
export interface ReferenceModels<Config = unknown> {
  /** whether masks have a Gaussian where nothing in the checkpoint says: as its published model was trained */
  readonly gaussian: boolean;
  /** a parameter or layer to the other naming; what is called alike comes back as it is. Default the same names */
  readonly names?: { toOurs(name: string): string; toTheirs(name: string): string };
  /** tensors beside parameters and the buffers of GBLR layers. Default none */
  others?(model: LayerSource<Config>, network: ReadonlyMap<string, ParameterInfo>): Promise<TensorSource[]>;
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
