// The initialization `activation` of structures without a closed form: the best of several starts, refitted to the
// outputs of the layer.

import { type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import {
  expectCovariance,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
  type StructureParameters,
} from "../structure.ts";
import { damped, deviations, fromScaled } from "./input-scale.ts";
import { outputErrorOf, refit } from "./refit.ts";

/**
 * Decomposes the matrix, and the matrix with inputs scaled to unit variance, and refits the decomposition with the
 * smaller output error. The result is never worse in outputs than that of `svd`.
 */
export async function* refittedToOutputs(
  weight: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { structure, layer, seed } = options;
  const covariance = expectCovariance(layer, options.covariance);
  const budget = layer.allowed / (layer.nIn * layer.nOut);
  const rules = { ...(seed !== undefined && { seed }) };
  const starts = [await structure.fromDense(weight, budget, rules)];
  if (structure.scaleInputs) {
    const scale = tidy(() => deviations(damped(covariance)));
    starts.push(await fromScaled(structure, weight, { scale, budget, rules }));
    scale.dispose();
  }
  return yield* refitBest(weight, starts, options);
}

/**
 * Refits the start with the smallest output error.
 * @param starts parameters; disposed of
 */
export async function* refitBest(
  weight: Tensor2D,
  starts: readonly StructureParameters[],
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { structure, layer, refitEvaluations: evaluations, signal } = options;
  const covariance = expectCovariance(layer, options.covariance);
  try {
    let [best, least] = [starts[0] as StructureParameters, Number.POSITIVE_INFINITY];
    for (const start of starts) {
      const error = await outputErrorOf(structure, start, { target: weight, covariance });
      if (error < least) [best, least] = [start, error];
    }
    const { name } = layer;
    const found = yield* refit(structure, best, { target: weight, covariance, evaluations, name, signal });
    return { parameters: found.parameters, by: "activation" };
  } finally {
    for (const tensor of starts.flatMap((start) => Object.values(start))) tensor.dispose();
  }
}
