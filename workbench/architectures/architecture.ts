// The interface of an architecture: its config, the modules of its network, the names of its tensors, its task with the
// forward pass, the rules that recognize its weights, and its Python classes. Each architecture is one object in a
// folder of its own; registry.ts lists them.

import type { Json } from "../../hub/checkpoint/index.ts";
import type { PythonClasses } from "../../hub/python/index.ts";
import type { TensorInfo, TensorSource } from "../../hub/safetensors/index.ts";
import { type Counts, countNetwork, type LayerCosts } from "./count.ts";
import { type LayerInfo, layersIn, type Module, type ParameterInfo, parametersIn } from "./network.ts";
import type { ImageSettings, UsualPreparation } from "./parts/image-terms.ts";
import type { Places, Symmetry } from "./symmetry.ts";
import type { LayerSource, Task } from "./task.ts";

type Fields = Record<string, unknown>;

/** A family of networks that share a forward pass. */
export interface Architecture<Config = unknown> {
  /** its name, and `model_type` of config.json */
  readonly type: string;
  /**
   * All values of `model_type` that it reads, for families that differ in their config only. Models keep the value with
   * which they were read. Default: only `type`
   */
  readonly modelTypes?: readonly string[];
  /** name in messages, e.g. `GPT-2` */
  readonly title: string;
  readonly task: Task<Config>;
  /**
   * Reads and checks a config.json.
   * @param json content of config.json
   * @param file name of the file in errors
   * @throws ModelError that names a missing or invalid field
   */
  readConfig(json: Record<string, unknown>, file: string): Config;
  /** The modules of the network. Parameters are saved in this order, and layers are listed in it. */
  network(config: Config): readonly Module[];
  /**
   * The free permutations of its parameters, see symmetry.ts. Those of parts of a unit precede those of whole units.
   * Default: none
   * @param places the axes of the parameters in `network`
   */
  symmetries?(config: Config, places: Places): Symmetry[];
  /**
   * The rounded multiply-adds of the dense model by which published tables divide; undefined for sizes that were not
   * published. Default: the reference's count of the dense model
   */
  publishedTotal?(config: Config): number | undefined;
  /** names of tensors in checkpoints. Default: the names in `network` */
  readonly names?: TensorNames<Config>;
  /** names in timm, whose config.json has `architecture` instead of `model_type`. Default: timm does not have it */
  readonly timm?: TimmNames;
  /** makes a config.json for weights that have none. Default: such weights are not recognized */
  readonly weights?: WeightsReader<Config>;
  /** checkpoints of the reference implementation. Default: the reference does not have this architecture */
  readonly reference?: ReferenceModels<Config>;
  /** Python classes. Default: Python cannot load structured models of this architecture */
  readonly python?: PythonClasses;
}

/**
 * Translates between the names of parameters in `network` and the names of tensors in checkpoints. Each naming of
 * checkpoints is identified by a prefix.
 */
export interface TensorNames<Config = unknown> {
  /**
   * Prefixes that names in checkpoints may have, e.g. `transformer.`. A model is saved with the prefix with which it
   * was read, and a new model with the first prefix.
   */
  readonly prefixes: readonly string[];
  /** the prefix for saving a model that was read with `prefix`. Default: the same */
  savedPrefix?(prefix: string): string;
  /** the prefix of a new model. Default: the first of `prefixes` */
  prefixOf?(config: Config): string;
  /** the name in a checkpoint with this prefix, for a parameter, a layer or a parameter of a layer */
  storedName(name: string, prefix: string): string;
  /** the inverse of `storedName`; a name without the prefix is returned unchanged */
  parameterName(stored: string, prefix: string): string;
  /**
   * Tensors that hold several parameters, concatenated along axis 0: a map from the name in the file to the names of
   * the parameters. For example, timm's `attn.qkv.weight` holds three. Default: none
   */
  joined?(config: Config, prefix: string): ReadonlyMap<string, readonly string[]>;
  /**
   * Tensors that are not parameters because they repeat the values of a parameter, such as a tied head: a map from the
   * tensor to the parameter. Default: none
   */
  tied?(config: Config): ReadonlyMap<string, string>;
  /** whether a tensor of a checkpoint is not a parameter and is ignored, such as a causal mask. Default: false */
  ignores?(name: string, config: Config): boolean;
  /**
   * Whether a tensor of a checkpoint may have more rows than the parameter, as padded vocabularies have. The rows at
   * the end are dropped. Default: false
   */
  mayHaveMoreRows?(name: string): boolean;
  /** further namings, which occur in state_dicts but not in published checkpoints. Default: none */
  readonly others?: readonly OtherNames[];
}

/** A naming of tensors in a program's state_dict that differs from the naming in its checkpoints. */
export interface OtherNames {
  /** whether a file has this naming */
  isUsedBy(tensors: ReadonlyMap<string, unknown>): boolean;
  /** the name in a checkpoint; undefined if no rule applies */
  toCheckpoint(name: string): string | undefined;
  /** how images are usually prepared for such weights. Default: `preparation` of the task */
  readonly preparation?: UsualPreparation;
}

/** Names in checkpoints that are equal to those in `network`. */
const PLAIN_NAMES: TensorNames = {
  prefixes: [""],
  storedName: (name) => name,
  parameterName: (stored) => stored,
};

/** All values of `model_type` that an architecture reads. */
export const modelTypesOf = ({ type, modelTypes = [type] }: Pick<Architecture, "type" | "modelTypes">) => modelTypes;

/** The names of an architecture's tensors in checkpoints. Default: those in `network`. */
export const namesOf = <Config>({ names = PLAIN_NAMES }: Architecture<Config>): TensorNames<Config> => names;

/**
 * Whether a tensor of a checkpoint is not a parameter and is ignored.
 * @param name name of the tensor, without the checkpoint's prefix
 */
export function isPassedOver<Config>(architecture: Architecture<Config>, name: string, config: Config): boolean {
  const { ignores, tied } = namesOf(architecture);
  return (ignores?.(name, config) ?? false) || (tied?.(config).has(name) ?? false);
}

/** An architecture's names in timm. */
export interface TimmNames {
  /** names for messages, e.g. `resnet18`; `*` stands for any ending, e.g. `vit_*` */
  readonly known: readonly string[];
  /** the name of a small model, for messages */
  readonly example: string;
  /** whether timm's name of a model, with or without the tag of its weights, is of this family */
  isName(name: string): boolean;
  /** fields of `model_args` for the sizes that a new model can set. The name determines all other sizes. */
  readonly sizes: { width?: string; blocks?: string; heads?: string; image?: string };
}

/** A checkpoint without config.json. Tensors have the names of the architecture, without prefixes added by trainers. */
export interface WeightsFile {
  /** name of the file in errors */
  file: string;
  tensors: ReadonlyMap<string, TensorInfo>;
  /** all content that is not a tensor */
  rest: { readonly [key: string]: Json };
  /** from the name of a tensor to that of an earlier tensor with the same memory */
  tied: ReadonlyMap<string, string>;
}

/** Settings for reading a checkpoint without config.json. */
export interface ReadingOptions {
  /** number of attention heads. Default: the number stored in the checkpoint, else width / 64 */
  heads?: number | undefined;
  /** base of rotary positions. Default: that stored in the checkpoint, else the usual one */
  ropeTheta?: number | undefined;
}

/** The number of attention heads of a checkpoint. */
export interface FoundHeads {
  count: number;
  /** whether the tensors determine it; if not, it is usual for their shapes */
  isDetermined: boolean;
  /** components of a head */
  headSize: number;
}

/** Settings that neither the tensors nor hyper-parameters beside them determine. */
export interface AssumedSettings {
  /** the published model whose settings they are; undefined if none has these shapes */
  like?: string | undefined;
  /** by their names in config.json */
  settings: Readonly<Record<string, unknown>>;
}

/** The image size, mean and standard deviation for weights without a config.json. */
export type AssumedColors = Pick<ImageSettings, "size" | "mean" | "std">;

/** Recognizes weights without a config.json, and describes them, by the names and shapes of their tensors. */
export interface WeightsReader<Config = unknown> {
  /** prefix of the names that the reader expects. Default: none */
  readonly prefix?: string;
  /**
   * the tensor, and the axis of it, whose length is the width of the attention heads together. Default: there are no
   * heads
   */
  readonly width?: readonly [tensor: string, axis: number];
  /**
   * the head's name in `network`, which scripts replace for other classes or leave out. Default: every tensor is
   * expected
   */
  readonly head?: string;
  /**
   * The attention heads by the tensors; undefined if they do not determine them and no number is usual. Default: one
   * per 64 components of `width`
   */
  heads?(weights: WeightsFile): FoundHeads | undefined;
  /** the settings that `config` assumes, beside the heads. Default: none */
  assumed?(weights: WeightsFile, options: ReadingOptions): AssumedSettings;
  /** whether a checkpoint with these tensors belongs to this architecture */
  recognizes(tensors: ReadonlyMap<string, TensorInfo>): boolean;
  /**
   * Makes the config.json of the dense model from shapes and hyper-parameters.
   * @throws ModelError if they do not determine it
   */
  config(weights: WeightsFile, options: ReadingOptions): Fields;
  /**
   * Makes config.json and preprocessor_config.json in Hugging Face's format, for weights of image models under Hugging
   * Face's names. Default: the architecture has no such names
   */
  forTransformers?(
    config: Config,
    weights: WeightsFile,
    images: AssumedColors,
  ): { config: Fields; preprocessor: Fields };
}

/** Checkpoints of the reference implementation. */
export interface ReferenceModels<Config = unknown> {
  /** whether masks have a Gaussian if the checkpoint does not say so, as in the reference's published model */
  readonly gaussian: boolean;
  /**
   * translates names of parameters and layers; a name that is the same in both is returned unchanged. Default: same
   * names
   */
  readonly names?: { toOurs(name: string): string; toTheirs(name: string): string };
  /** further tensors, which are neither parameters nor buffers of GBLR layers. Default: none */
  others?(model: LayerSource<Config>, network: ReadonlyMap<string, ParameterInfo>): Promise<TensorSource[]>;
}

/** All parameters of the dense model by name, in the order in which they are saved. */
export const parametersOf = <Config>(architecture: Architecture<Config>, config: Config): Map<string, ParameterInfo> =>
  parametersIn(architecture.network(config));

/** All linear layers and convolutions that may be structured, in the order of `network`. */
export const layersOf = <Config>(architecture: Architecture<Config>, config: Config): LayerInfo[] =>
  layersIn(architecture.network(config));

/**
 * Multiply-adds of the model for one image or one full sequence.
 * @param costs multiply-adds per row of each structured layer; all other layers count as dense. Default: none
 * @throws EngineError if `costs` names a layer that the model does not have
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
