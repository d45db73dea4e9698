// What has to be known of an architecture to make a model of one of the reference implementation's checkpoints: its
// config.json, which those checkpoints do not hold, and what they call its parameters. One object an architecture.

import type { Json } from "../../hub/checkpoint/index.ts";
import type { TensorInfo } from "../../hub/safetensors/index.ts";

/** A checkpoint as the readers see it: names without what the trainer put before them, in our naming. */
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

/** A parameter or layer to the other naming; what is called alike comes back as it is. */
export interface ReferenceNames {
  toOurs(name: string): string;
  toTheirs(name: string): string;
}

export interface ReferenceReader {
  /** `model_type` */
  readonly type: string;
  /** whether masks have a Gaussian where nothing in the checkpoint says: as its published model was trained */
  readonly gaussian: boolean;
  /** default the same names */
  readonly names?: ReferenceNames;
  /** whether a checkpoint with these tensors, named as in the file, is one */
  recognizes(tensors: ReadonlyMap<string, TensorInfo>): boolean;
  /**
   * config.json of the dense model, from shapes and hyper-parameters.
   * @throws ModelError when they do not tell
   */
  config(checkpoint: ReferenceCheckpoint, options: ReadingOptions): Record<string, unknown>;
}
