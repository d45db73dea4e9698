// The initializations `asvd` and `fwsvd` of low rank: a truncated decomposition of W D, with D diagonal, and D taken out
// of the factors again. It minimizes the error of the entries with a weight for each input. They are the published
// baselines that `activation`, which uses all of Σ, is compared with.

import { sqrt, type Tensor1D, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import {
  expectCovariance,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
  type StructureParameters,
} from "../structure.ts";
import { fromScaled, magnitudes, positive } from "./input-scale.ts";

/**
 * ASVD (Yuan et al. 2023, arXiv 2312.05821): D is the magnitude of each input to the power α = 0.5. The authors use the
 * mean absolute value as the magnitude; here it is the root mean square, from the diagonal of Σ. Their search of ranks
 * by sensitivity is an allocation, which is chosen separately.
 */
export async function* asvd(weight: Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> {
  const covariance = expectCovariance(options.layer, options.covariance, "asvd");
  const scale = tidy(() => positive(sqrt(magnitudes(covariance))));
  return { parameters: await weighted(weight, scale, options), by: "asvd" };
}

/**
 * FWSVD (Hsu et al., ICLR 2022, arXiv 2207.00112): D² is the Fisher information of each input, the sum over the outputs
 * of the squared gradients of the loss with respect to the entries of W. The authors store W as (n_in, n_out) and call
 * inputs rows.
 * @throws EngineError when the layer has no importances
 */
export async function* fwsvd(weight: Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> {
  const { layer, importance } = options;
  if (!importance) {
    throw new EngineError(
      `init fwsvd: ${layer.name} has no importances of its inputs`,
      "accumulate squared gradients on calibration data first",
    );
  }
  expectOperand("fwsvd", { importance }, { dtype: "float32", shape: [layer.nIn] });
  const scale = tidy(() => positive(sqrt(importance)));
  return { parameters: await weighted(weight, scale, options), by: "fwsvd" };
}

async function weighted(
  weight: Tensor2D,
  scale: Tensor1D,
  { structure, layer }: StartOptions,
): Promise<StructureParameters> {
  const { nIn, nOut, cost } = layer;
  const parameters = await fromScaled(structure, weight, { scale, budget: cost / (nIn * nOut) });
  scale.dispose();
  return parameters;
}
