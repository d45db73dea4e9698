// How far a layer's matrix is from the one it replaces: in its entries, and in its outputs for inputs as calibration saw
// them. Nothing is changed.

import { matMul, mul, sub, sum, type Tensor2D, tidy } from "@tensorflow/tfjs-core";

export interface LayerErrors {
  /** ‖W − W'‖ / ‖W‖, Frobenius norms */
  error: number;
  /** ‖(W − W') Σ^½‖ / ‖W Σ^½‖, the relative root mean square error of the layer's output without its bias */
  outputError?: number;
}

/** @param covariance Σ, float32 (n_in, n_in), of the layer's inputs */
export async function layerErrors(
  weight: Tensor2D,
  approximation: Tensor2D,
  covariance?: Tensor2D,
): Promise<LayerErrors> {
  const energies = tidy(() => {
    const rest = sub<Tensor2D>(weight, approximation);
    // tr(M Σ Mᵀ) needs no root of Σ.
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
