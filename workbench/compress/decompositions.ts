// Caches the decompositions of a conversion: each matrix is decomposed at most once, for the plan's singular values and
// for the layer's initial factors. The vectors of a layer, at most as many numbers as a GBLR layer has parameters, stay
// in memory from their first use until its conversion. A limit bounds them: of the layers beyond it only the singular
// values are kept, and their matrices are decomposed again.

import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { outputTriples, SharedWhitening, type Triples, type Whitening } from "../gblr/init/index.ts";
import { lossEnergies, type OutputSensitivity } from "./loss-spectrum.ts";

/** Most bytes of singular vectors that are kept. Those of all layers of GPT-2 medium take 1.6 GB. */
const MOST_BYTES = 2e9;

/** The singular values of a layer, and the covariance of inputs for which they were computed. */
interface Spectrum {
  values: ArrayLike<number>;
  covariance: Tensor2D | undefined;
}

/** The decompositions of one conversion, from its first plan on. Must be disposed of. */
export class Decompositions {
  private readonly kept = new Map<string, Triples>();
  private readonly spectra = new Map<string, Spectrum>();
  private readonly outputSpectra = new Map<string, ArrayLike<number>>();
  private readonly most: number;
  private readonly whitening: SharedWhitening;
  private bytes = 0;

  /**
   * @param options.most bytes of singular vectors that are kept at most. Default 2 GB
   * @param options.whitening how covariances are factored. Default `cholesky`
   */
  constructor({
    most = MOST_BYTES,
    whitening = "cholesky",
  }: { most?: number; whitening?: Whitening | undefined } = {}) {
    this.most = most;
    this.whitening = new SharedWhitening(whitening);
  }

  /**
   * Singular values of a layer's matrix, largest first.
   * @param weight float32 (n_out, n_in)
   * @param covariance Σ (n_in, n_in) of its inputs. If given, the values are those of M Σ^½
   */
  async singularValues(name: string, weight: Tensor2D, covariance?: Tensor2D): Promise<ArrayLike<number>> {
    const known = this.spectra.get(name);
    if (known && known.covariance === covariance) return known.values;
    this.forget(name);
    const triples: Triples = covariance ? await this.outputTriples(weight, covariance) : await svd(weight);
    const values = await triples.s.data();
    this.spectra.set(name, { values, covariance });
    this.keep(name, triples, covariance);
    return values;
  }

  /** The energies of a layer for allocation by the loss, see loss-spectrum.ts. Operands are those of `singularValues`. */
  async lossEnergies(
    name: string,
    weight: Tensor2D,
    { covariance, felt }: { covariance: Tensor2D; felt: OutputSensitivity },
  ): Promise<Float32Array> {
    this.forget(name);
    const triples = await this.outputTriples(weight, covariance);
    const energies = await lossEnergies(weight, { vectors: triples.u, covariance, felt });
    this.keep(name, triples, covariance);
    return energies;
  }

  private keep(name: string, triples: Triples, covariance: Tensor2D | undefined): void {
    if (this.bytes + bytesOf(triples) > this.most) disposeOf(triples);
    else {
      this.kept.set(name, { ...triples, covariance });
      this.bytes += bytesOf(triples);
    }
  }

  /**
   * Computes the singular values of M Σ^½ for a plan that is made when Σ is not in memory any more, and keeps no
   * vectors. Operands are those of `singularValues`.
   */
  async addOutputSpectrum(name: string, weight: Tensor2D, covariance: Tensor2D): Promise<void> {
    const triples = await this.outputTriples(weight, covariance);
    this.outputSpectra.set(name, await triples.s.data());
    disposeOf(triples);
  }

  /** The singular values of a layer that `addOutputSpectrum` has computed. */
  outputSpectrumOf(name: string): ArrayLike<number> | undefined {
    return this.outputSpectra.get(name);
  }

  /** All singular triples of a layer's matrix, if they are known; until `forget`. */
  triplesOf(name: string): Triples | undefined {
    return this.kept.get(name);
  }

  /** Disposes of the triples of a layer. */
  forget(name: string): void {
    const known = this.kept.get(name);
    if (known) {
      this.bytes -= bytesOf(known);
      disposeOf(known);
    }
    this.kept.delete(name);
  }

  private outputTriples(weight: Tensor2D, covariance: Tensor2D): Promise<Triples> {
    this.whitening.use(covariance);
    return outputTriples(weight, covariance);
  }

  dispose(): void {
    this.whitening.release();
    for (const name of [...this.kept.keys()]) this.forget(name);
  }
}

const FLOAT_BYTES = 4;

const tensorsOf = ({ u, s, v }: Triples): Tensor[] => [u, s, ...(v ? [v] : [])];

const bytesOf = (triples: Triples): number => tensorsOf(triples).reduce((sum, { size }) => sum + size * FLOAT_BYTES, 0);

function disposeOf(triples: Triples): void {
  for (const tensor of tensorsOf(triples)) tensor.dispose();
}
