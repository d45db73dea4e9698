// The initialization `activation` of structures without a closed form: the better of two decompositions, refitted to the
// outputs of the layer.

import { type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import { damped, deviations, fromScaled } from "./input-scale.ts";
import { outputErrorOf, refit } from "./refit.ts";
import {
  expectCovariance,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
  type StructureParameters,
} from "./structure.ts";

/**
 * Decomposes the matrix, and the matrix with inputs scaled to unit variance, and refits the decomposition with the
 * smaller output error. The result is never worse in outputs than that of `svd`.
 */
export async function* refittedToOutputs(
  weight: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { structure, layer, refitEvaluations: evaluations, signal } = options;
  const covariance = expectCovariance(layer, options.covariance);
  const start = await nearestDecomposition(weight, { ...options, covariance });
  try {
    const found = yield* refit(structure, start, {
      ...{ target: weight, covariance, evaluations, signal },
      name: layer.name,
    });
    return { parameters: found.parameters, by: "activation" };
  } finally {
    dispose(start);
  }
}

/** The decomposition with the smaller output error: with scaled inputs, or without. */
async function nearestDecomposition(
  weight: Tensor2D,
  { structure, layer, covariance, seed }: StartOptions & { covariance: Tensor2D },
): Promise<StructureParameters> {
  const budget = layer.allowed / (layer.nIn * layer.nOut);
  const rules = { ...(seed !== undefined && { seed }) };
  const plain = await structure.fromDense(weight, budget, rules);
  if (!structure.scaleInputs) return plain;
  const scale = tidy(() => deviations(damped(covariance)));
  const scaled = await fromScaled(structure, weight, { scale, budget, rules });
  scale.dispose();
  const errorOf = (parameters: StructureParameters) =>
    outputErrorOf(structure, parameters, { target: weight, covariance });
  const [kept, dropped] = (await errorOf(scaled)) <= (await errorOf(plain)) ? [scaled, plain] : [plain, scaled];
  dispose(dropped);
  return kept;
}

function dispose(parameters: StructureParameters): void {
  for (const tensor of Object.values(parameters)) tensor.dispose();
}
