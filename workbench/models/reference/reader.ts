// What has to be known of an architecture to make a model of one of the reference implementation's checkpoints: its
// config.json, which those checkpoints do not hold. One object an architecture.

import type { Json } from "../../../hub/checkpoint/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";

/** A checkpoint as the readers see it: names without what the trainer put before them. */
export interface ReferenceCheckpoint {
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

export interface ReferenceReader {
  /** `model_type` */
  readonly type: string;
  /** whether a checkpoint with these tensors is one */
  recognises(tensors: ReadonlyMap<string, TensorInfo>): boolean;
  /**
   * config.json of the dense model, from shapes and hyper-parameters.
   * @throws ModelError when they do not tell
   */
  config(checkpoint: ReferenceCheckpoint, options: ReadingOptions): Record<string, unknown>;
}
