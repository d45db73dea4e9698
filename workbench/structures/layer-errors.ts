// The errors of a layer's new matrix compared with the dense one: the error of the entries, and the output error for a
// covariance of the layer's inputs.

import { matMul, mul, sub, sum, type Tensor2D, tidy } from "@tensorflow/tfjs-core";

/** Relative errors of a layer's new matrix. */
export interface LayerErrors {
  /** ‖W − W'‖ / ‖W‖, Frobenius norms */
  error: number;
  /** ‖(W − W') Σ^½‖ / ‖W Σ^½‖, the relative root mean square error of the layer's output without its bias */
  outputError?: number;
}

/**
 * Computes the errors of an approximation W' of a weight W.
 * @param weight float32 (n_out, n_in)
 * @param approximation float32 (n_out, n_in)
 * @param covariance Σ, float32 (n_in, n_in), of the layer's inputs. Default none, without an output error
 */
export async function layerErrors(
  weight: Tensor2D,
  approximation: Tensor2D,
  covariance?: Tensor2D,
): Promise<LayerErrors> {
  const energies = tidy(() => {
    const rest = sub<Tensor2D>(weight, approximation);
    // ‖M Σ^½‖² is computed as tr(M Σ Mᵀ), without a root of Σ.
    const energy = (matrix: Tensor2D, by?: Tensor2D) => sum(sum(mul(matrix, by ? matMul(matrix, by) : matrix), 1));
    return {
      rest: energy(rest),
      whole: energy(weight),
      ...(covariance && { restSeen: energy(rest, covariance), wholeSeen: energy(weight, covariance) }),
    };
  });
  const values = new Map<string, number>();
  for (const [name, tensor] of Object.entries(energies)) {
    values.set(name, (await tensor.data())[0] ?? 0);
    tensor.dispose();
  }
  const ratio = (rest: number, whole: number) => (whole > 0 ? Math.sqrt(Math.max(0, rest) / whole) : 0);
  return {
    error: ratio(values.get("rest") ?? 0, values.get("whole") ?? 0),
    ...(covariance && { outputError: ratio(values.get("restSeen") ?? 0, values.get("wholeSeen") ?? 0) }),
  };
}
