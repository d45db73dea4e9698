// Caches the decompositions of a conversion: each matrix is decomposed at most once, for the plan's singular values and
// for the layer's initial factors. The vectors of a layer stay in memory from their first use until its conversion, at
// most as many numbers as a GBLR layer has parameters.

import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { outputTriples, type Triples } from "../gblr/init/index.ts";

/** The decompositions of one conversion, from its first plan on. Must be disposed of. */
export class Decompositions {
  private readonly kept = new Map<string, Triples>();

  /**
   * Singular values of a layer's matrix, largest first.
   * @param weight float32 (n_out, n_in)
   * @param covariance Σ (n_in, n_in) of its inputs. If given, the values are those of M Σ^½
   */
  async singularValues(name: string, weight: Tensor2D, covariance?: Tensor2D): Promise<ArrayLike<number>> {
    const known = this.kept.get(name);
    if (known && known.covariance === covariance) return known.s.data();
    if (known) disposeOf(known);
    const triples = covariance ? await outputTriples(weight, covariance) : await svd(weight);
    this.kept.set(name, { ...triples, covariance });
    return triples.s.data();
  }

  /** All singular triples of a layer's matrix, if they are known; until `forget`. */
  triplesOf(name: string): Triples | undefined {
    return this.kept.get(name);
  }

  /** Disposes of the triples of a layer. */
  forget(name: string): void {
    const known = this.kept.get(name);
    if (known) disposeOf(known);
    this.kept.delete(name);
  }

  dispose(): void {
    for (const triples of this.kept.values()) disposeOf(triples);
    this.kept.clear();
  }
}

function disposeOf({ u, s, v }: Triples): void {
  for (const tensor of [u, s, v] as (Tensor | undefined)[]) tensor?.dispose();
}
