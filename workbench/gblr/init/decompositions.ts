// Shares singular triples, so that each matrix is decomposed once. A plan needs the singular values of a layer's
// matrix, and the conversion later needs the singular vectors of the same matrix.

import { slice, type Tensor1D, type Tensor2D } from "@tensorflow/tfjs-core";

/** All singular triples of a matrix M, or of M Σ^½ for inputs of covariance Σ; largest first. */
export interface Triples {
  /** left vectors as columns, (n_out, k) */
  u: Tensor2D;
  /** (k) */
  s: Tensor1D;
  /** right vectors as columns, (n_in, k); absent where they are not needed */
  v?: Tensor2D;
  /** Σ, (n_in, n_in); undefined if the triples are those of the matrix itself */
  covariance?: Tensor2D | undefined;
}

/**
 * The first `rank` triples of a matrix: copies of known ones, or computed.
 * @param known all triples of the same matrix; used if they are for this covariance
 * @param compute decomposes the matrix; not called if the known triples are used
 */
export async function firstTriples<Found extends Omit<Triples, "covariance">>(
  known: Triples | undefined,
  { rank, covariance }: { rank: number; covariance?: Tensor2D },
  compute: () => Promise<Found>,
): Promise<Found> {
  if (!known || known.covariance !== covariance) return compute();
  const columns = (vectors: Tensor2D) => slice(vectors, [0, 0], [-1, rank]);
  const { u, s, v } = known;
  return { u: columns(u), s: slice(s, 0, rank), ...(v && { v: columns(v) }) } as Found;
}
