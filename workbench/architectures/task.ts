// What a model does with its inputs: continue text, or classify images. Each architecture has one task; training,
// evaluation, calibration and generation use the task and never ask which architecture it is.

import type { Tensor, Tensor2D, Tensor3D, Tensor4D, Variable } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import type { Activation } from "../engine/ops/index.ts";
import type { KeyValueCache } from "./parts/cache.ts";
import type { UsualPreparation } from "./parts/image-terms.ts";

export interface ApplyOptions {
  /** default `none` */
  activation?: Activation;
}

/** What a forward pass asks of a model: parameters and layers by name, however they are held. */
export interface LayerSource<Config = unknown> {
  readonly architecture: { readonly type: string; readonly task: Task<Config> };
  readonly config: Config;
  /** @throws EngineError when there is no such parameter */
  parameter(name: string): Variable;
  /** activation(x Wᵀ + b). @param x float32 (…, n_in) @returns float32 (…, n_out) */
  linear(name: string, x: Tensor, options?: ApplyOptions): Tensor;
  /** @param x float32 (batch, height, width, channels) @returns float32 (batch, height', width', n_out) */
  convolution(name: string, x: Tensor4D): Tensor4D;
  hasLayer(name: string): boolean;
}

export interface LanguageSizes {
  /** longest sequence, tokens */
  positions: number;
  vocabulary: number;
  /** of the states that the head is applied to */
  width: number;
  /** tokens of which each ends a text. Default of a new text: it begins after the first of them */
  endOfText: readonly number[];
}

export interface LanguageOptions {
  /** drops as in training, at the config's rates: give each step its own, a whole number from 0. Default: nothing drops */
  dropoutSeed?: number | undefined;
  /** keys and values of the tokens before these; those of these tokens are added to it. Batches of 1, no gradient */
  cache?: KeyValueCache | undefined;
}

/** A causal language model: hidden states of tokens, and a head that makes logits of each. */
export interface LanguageTask<Config = unknown> {
  readonly kind: "text-generation";
  sizes(config: Config): LanguageSizes;
  /**
   * What the head is applied to.
   * @param ids int32 (batch, tokens)
   * @returns float32 (batch, tokens, width)
   * @throws ShapeError when there are more tokens than positions
   */
  hidden(model: LayerSource<Config>, ids: Tensor2D, options: LanguageOptions): Tensor3D;
  /** The head's weight, (vocabulary, width). */
  head(model: LayerSource<Config>): Tensor2D;
}

export interface ImageSizes {
  /** rows and columns */
  image: number;
  classes: number;
}

export interface ClassifierOptions {
  /** normalizes batches by their own statistics, which move the running ones. Default false */
  training?: boolean;
  /**
   * in training: of what is dropped, at the config's rates; give each step its own, a whole number from 0. Default:
   * nothing is dropped
   */
  seed?: number;
  /** in training: probability to skip the last block; that of earlier ones is the architecture's. Default the config's */
  dropPath?: number | undefined;
}

/** Positions of patches that can be interpolated to images of another size. */
export interface ResizablePositions<Config> {
  /** the parameter (1, first + patches, n) */
  parameter: string;
  /** rows before those of the patches */
  first(config: Config): number;
  /** rows and columns of a patch */
  patch(config: Config): number;
  /** the same model's config for images of another size */
  resized(config: Config, image: number): Config;
}

/** A classifier of images. */
export interface ImageTask<Config = unknown> {
  readonly kind: "image-classification";
  sizes(config: Config): ImageSizes;
  /** how images are prepared where a checkpoint does not say */
  readonly preparation: UsualPreparation;
  /** whether it takes images of any size. Default false: only of the config's */
  readonly anySize?: boolean;
  /** default none: images keep their size */
  readonly positions?: ResizablePositions<Config>;
  /**
   * @param images float32 (batch, height, width, colors), normalized
   * @returns float32 (batch, classes)
   * @throws ShapeError when images are of another size than the model's
   */
  logits(model: LayerSource<Config>, images: Tensor4D, options: ClassifierOptions): Tensor2D;
}

export type Task<Config = unknown> = LanguageTask<Config> | ImageTask<Config>;

interface Described {
  readonly architecture: { readonly type: string; readonly task: Task };
}

/** Whether the model is for images and classes. */
export const isClassifier = ({ architecture }: Described): boolean => architecture.task.kind === "image-classification";

/** Whether the model reads and continues text. */
export const isLanguageModel = ({ architecture }: Described): boolean => architecture.task.kind === "text-generation";

/** @throws EngineError when the model takes no images */
export function imageTaskOf({ architecture: { type, task } }: Described): ImageTask {
  if (task.kind === "image-classification") return task;
  throw new EngineError(`a ${type} model takes no images`, "give a vit, resnet or mixer model");
}

/** @throws EngineError when the model reads no text */
export function languageTaskOf({ architecture: { type, task } }: Described): LanguageTask {
  if (task.kind === "text-generation") return task;
  throw new EngineError(`a ${type} model reads no text`, "give a language model such as gpt2");
}
