// Singular triples that are computed once and used twice: a plan needs the singular values of a layer's matrix, and the
// conversion later the vectors of the same matrix.

import { slice, type Tensor1D, type Tensor2D } from "@tensorflow/tfjs-core";

/** Singular triples of a matrix, or of what it does to inputs of this covariance; largest first, all of them. */
export interface Triples {
  /** left vectors as columns, (n_out, k) */
  u: Tensor2D;
  /** (k) */
  s: Tensor1D;
  /** right vectors as columns, (n_in, k); not kept where nobody needs them */
  v?: Tensor2D;
  /** Σ, (n_in, n_in); undefined: the triples are those of the matrix itself */
  covariance?: Tensor2D | undefined;
}

const HANDED_ON = new WeakMap<Tensor2D, Triples>();

/**
 * Makes functions that decompose this matrix use these triples instead, until the returned function is called.
 * @param triples stay the caller's to dispose of, afterwards
 */
export function handOn(weight: Tensor2D, triples: Triples): () => void {
  HANDED_ON.set(weight, triples);
  return () => HANDED_ON.delete(weight);
}

/**
 * The first `rank` triples, as copies of those that were handed on, or computed.
 * @param compute decomposes the matrix; not called where its triples were handed on
 */
export async function firstTriples<Found extends Omit<Triples, "covariance">>(
  weight: Tensor2D,
  { rank, covariance }: { rank: number; covariance?: Tensor2D },
  compute: () => Promise<Found>,
): Promise<Found> {
  const known = HANDED_ON.get(weight);
  if (!known || known.covariance !== covariance) return compute();
  const columns = (vectors: Tensor2D) => slice(vectors, [0, 0], [-1, rank]);
  const { u, s, v } = known;
  return { u: columns(u), s: slice(s, 0, rank), ...(v && { v: columns(v) }) } as Found;
}
