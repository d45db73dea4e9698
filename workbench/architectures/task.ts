// The tasks of models: language modeling and image classification. Each architecture has one task. Training,
// evaluation, calibration and generation use the interface of the task and do not depend on the architecture.

import type { Tensor, Tensor2D, Tensor3D, Tensor4D, Variable } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import type { Activation } from "../engine/ops/index.ts";
import type { AttentionCache } from "./parts/cache.ts";
import type { UsualPreparation } from "./parts/image-terms.ts";

export interface ApplyOptions {
  /** activation function after the layer. Default `none` */
  activation?: Activation;
}

/** What a forward pass needs of a model: parameters by name, and layers that it applies by name in any structure. */
export interface LayerSource<Config = unknown> {
  readonly architecture: { readonly type: string; readonly task: Task<Config> };
  readonly config: Config;
  /** @throws EngineError if there is no such parameter */
  parameter(name: string): Variable;
  /**
   * Applies a linear layer: activation(x Wᵀ + b).
   * @param x float32 (…, n_in)
   * @returns float32 (…, n_out)
   */
  linear(name: string, x: Tensor, options?: ApplyOptions): Tensor;
  /**
   * Applies a convolution.
   * @param x float32 (batch, height, width, channels)
   * @returns float32 (batch, height', width', n_out)
   */
  convolution(name: string, x: Tensor4D): Tensor4D;
  /** Whether the model has a layer of this name. */
  hasLayer(name: string): boolean;
}

/** Computes the state of a forward pass after a step from the state before it, float32. */
export type Step = (state: Tensor) => Tensor;

/**
 * A forward pass without dropout, in steps that need nothing but the state before them, such as the residual branches
 * of a transformer. Sequential calibration runs one step after the other over all of its data.
 */
export interface Stepwise<Config = unknown> {
  /**
   * The state before the first step. No layer that may be structured runs here.
   * @param input token ids or images, as for the whole pass
   */
  start(model: LayerSource<Config>, input: Tensor): Tensor;
  /**
   * The steps in order. They are called within the same `tidy` as this function.
   * @param state a state of the sequences or images for which the steps are called
   */
  steps(model: LayerSource<Config>, state: Tensor): readonly Step[];
}

/** The sizes of a language model. */
export interface LanguageSizes {
  /** longest sequence, in tokens */
  positions: number;
  vocabulary: number;
  /** n, width of the hidden states to which the head is applied */
  width: number;
  /** tokens that end a text; a text without a prompt starts with the first of them */
  endOfText: readonly number[];
}

/** Options of a language model's forward pass. */
export interface LanguageOptions {
  /**
   * seed of dropout, a whole number from 0, different for each training step; the rates are the config's. Default: no
   * dropout
   */
  dropoutSeed?: number | undefined;
  /**
   * keys and values of the preceding tokens, to which those of the given tokens are added. Needs a batch of 1; no
   * gradient
   */
  cache?: AttentionCache | undefined;
}

/** Causal language modeling: a body that computes hidden states of tokens, and a head that computes their logits. */
export interface LanguageTask<Config = unknown> {
  readonly kind: "text-generation";
  sizes(config: Config): LanguageSizes;
  /**
   * Computes the hidden states to which the head is applied.
   * @param ids int32 (batch, tokens)
   * @returns float32 (batch, tokens, width)
   * @throws ShapeError if there are more tokens than positions
   */
  hidden(model: LayerSource<Config>, ids: Tensor2D, options: LanguageOptions): Tensor3D;
  /** The weight of the head, float32 (vocabulary, width). */
  head(model: LayerSource<Config>): Tensor2D;
  /** the computation of `hidden` in steps. Default: sequential calibration runs whole passes, which takes longer */
  readonly stepwise?: Stepwise<Config>;
}

/** The sizes of an image classifier. */
export interface ImageSizes {
  /** rows and columns */
  image: number;
  classes: number;
}

/** Options of an image classifier's forward pass. */
export interface ClassifierOptions {
  /**
   * whether batch normalizations use the statistics of the batch and update the running ones, and dropout is active.
   * Default false
   */
  training?: boolean;
  /**
   * in training: seed of dropout, a whole number from 0, different for each step; the rates are the config's. Default:
   * no dropout
   */
  seed?: number;
  /**
   * in training: probability of skipping the last block; that of earlier blocks follows from it. Default: the config's
   */
  dropPath?: number | undefined;
}

/** Position embeddings that can be interpolated for images of another size. */
export interface ResizablePositions<Config> {
  /** name of the parameter, float32 (1, first + patches, n) */
  parameter: string;
  /** number of rows before those of the patches */
  first(config: Config): number;
  /** rows and columns of a patch */
  patch(config: Config): number;
  /** the same model's config for images of another size */
  resized(config: Config, image: number): Config;
}

/** Image classification. */
export interface ImageTask<Config = unknown> {
  readonly kind: "image-classification";
  sizes(config: Config): ImageSizes;
  /** preparation of images if a checkpoint does not describe it */
  readonly preparation: UsualPreparation;
  /** whether the model takes images of any size. Default false: only of the size in the config */
  readonly anySize?: boolean;
  /** position embeddings that depend on the image size. Default: none */
  readonly positions?: ResizablePositions<Config>;
  /**
   * Computes the logits.
   * @param images float32 (batch, height, width, colors), normalized
   * @returns float32 (batch, classes)
   * @throws ShapeError if the images have another size than the model's
   */
  logits(model: LayerSource<Config>, images: Tensor4D, options: ClassifierOptions): Tensor2D;
  /** the computation of `logits` in steps. Default: sequential calibration runs whole passes, which takes longer */
  readonly stepwise?: Stepwise<Config>;
}

/** The task of a model. */
export type Task<Config = unknown> = LanguageTask<Config> | ImageTask<Config>;

interface Described {
  readonly architecture: { readonly type: string; readonly task: Task };
}

/** Whether the model is an image classifier. */
export const isClassifier = ({ architecture }: Described): boolean => architecture.task.kind === "image-classification";

/** Whether the model is a language model. */
export const isLanguageModel = ({ architecture }: Described): boolean => architecture.task.kind === "text-generation";

/** The task of an image classifier. @throws EngineError if the model is not an image classifier */
export function imageTaskOf({ architecture: { type, task } }: Described): ImageTask {
  if (task.kind === "image-classification") return task;
  throw new EngineError(`a ${type} model takes no images`, "give a vit, resnet or mixer model");
}

/** The task of a language model. @throws EngineError if the model is not a language model */
export function languageTaskOf({ architecture: { type, task } }: Described): LanguageTask {
  if (task.kind === "text-generation") return task;
  throw new EngineError(`a ${type} model reads no text`, "give a language model such as gpt2");
}
