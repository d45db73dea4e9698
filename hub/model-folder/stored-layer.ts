// The linear layers of a model as its file holds them: names and shapes, no values. Which layers there are is in
// find-layers.ts; what they cost is for others to count.

import type { ReadSpans } from "./packed-layer.ts";
import type { StructureName } from "./structure-rules.ts";
import type { ReadStructure } from "./trainable-layer.ts";

interface Layer {
  name: string;
  nIn: number;
  nOut: number;
}

/** What config.json says of a structured layer's convolution; a linear layer has neither. */
interface Geometry {
  /** rows and columns */
  kernel?: readonly [number, number];
  /** it matters to what parameters cost */
  stride?: number;
}

/** W (n_out, n_in); convolutions with n_in = channels × kernel. */
export interface DenseLayer extends Layer {
  form: "dense";
}

/** GBLR, live blocks only. */
export interface PackedLayer extends Layer, Geometry {
  form: "packed";
  /** K, the dead ones counted */
  blocks: number;
  readSpans: ReadSpans;
}

/** GBLR, all blocks with their widths and locations. */
export interface TrainableLayer extends Layer, Geometry {
  form: "trainable";
  blocks: number;
  /** r, of each block */
  rank: number;
  readStructure: ReadStructure;
}

/** Any other structure: its parameters by name. */
export interface FactoredLayer extends Layer, Geometry {
  form: "factored";
  structure: Exclude<StructureName, "gblr">;
  /** whether config.json names the structure; if not it is the one that such tensors are most likely of */
  isNamed: boolean;
  shapes: Readonly<Record<string, readonly number[]>>;
}

export type StructuredLayer = PackedLayer | TrainableLayer | FactoredLayer;
export type StoredLayer = DenseLayer | StructuredLayer;
