// The linear layers of a model as its file holds them: names and shapes, no values. Which layers there are is in
// find-layers.ts; what they cost is for others to count.

import type { ReadSpans } from "./packed-layer.ts";
import type { ReadStructure } from "./trainable-layer.ts";

interface Layer {
  name: string;
  nIn: number;
  nOut: number;
}

/** W (n_out, n_in); convolutions with n_in = channels × kernel. */
export interface DenseLayer extends Layer {
  form: "dense";
}

/** GBLR, live blocks only. */
export interface PackedLayer extends Layer {
  form: "packed";
  /** K, the dead ones counted */
  blocks: number;
  readSpans: ReadSpans;
}

/** GBLR, all blocks with their widths and locations. */
export interface TrainableLayer extends Layer {
  form: "trainable";
  blocks: number;
  /** r, of each block */
  rank: number;
  readStructure: ReadStructure;
}

/** Any other structure: its parameters by name. */
export interface FactoredLayer extends Layer {
  form: "factored";
  structure: string;
  shapes: Readonly<Record<string, readonly number[]>>;
  /** of a convolution, where it matters to what its parameters cost */
  stride?: number;
}

export type StoredLayer = DenseLayer | PackedLayer | TrainableLayer | FactoredLayer;
