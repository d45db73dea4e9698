// The initializations of a GBLR matrix other than `svd`: `search`, the budgeted block search, and `activation`, which
// minimizes the output error for the covariance found by calibration.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import {
  activationAwareSvd,
  findBlocks,
  locationsByRule,
  spendBudget,
  widthsByRule,
  withGradients,
} from "../gblr/init/index.ts";
import { layerErrors } from "./layer-errors.ts";
import {
  eventLoopTurn,
  expectCovariance,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
  type Structure,
  type StructureParameters,
} from "./structure.ts";

/** Initialization `search`: the blocks found by the search, or those of `svd` if their error is smaller. */
export async function* byBlockSearch(
  weight: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { layer, structure, searchSteps, signal, locations, triples, seed = 0 } = options;
  const { name, nIn, nOut, cost, allowed } = layer;
  const budget = cost / (Math.min(nIn, nOut) * (nIn + nOut));
  for await (const event of findBlocks(weight, { budget, steps: searchSteps, seed, triples })) {
    if (event.type === "progress") {
      yield { kind: "search", name, step: event.step, steps: event.steps, error: event.error };
      await eventLoopTurn();
      signal?.throwIfAborted();
      continue;
    }
    const { widths, ...others } = event.parameters;
    const found = { ...others, widths: await withGradients(widths, { nIn, nOut }) };
    // Unlike the search's own fallback, this one has a narrower block that uses the rest of the budget.
    const rules = { ...(locations && { locations }), seed, triples };
    const plain = await structure.fromDense(weight, allowed / (nIn * nOut), rules);
    const isNearer = event.from === "search" && event.error <= (await errorOf(weight, structure, plain));
    for (const tensor of Object.values(isNearer ? plain : found)) tensor.dispose();
    return isNearer ? { parameters: found, by: "search" } : { parameters: plain, by: "svd" };
  }
  throw new EngineError(`the block search of ${name} ended without a result`, "report this");
}

async function errorOf(weight: Tensor2D, structure: Structure, parameters: StructureParameters): Promise<number> {
  const dense = structure.dense(parameters);
  const { error } = await layerErrors(weight, dense);
  dense.dispose();
  return error;
}

/**
 * Initialization `activation`: as many singular triples of M Σ^½ as are affordable, with M the layer's matrix and Σ the
 * covariance of its inputs.
 */
// biome-ignore lint/correctness/useYield: this initialization reports no progress
export async function* nearestInOutputs(
  weight: Tensor2D,
  { layer, widths, locations = "linspace", seed = 0, triples, ...options }: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { nIn, nOut, allowed } = layer;
  const covariance = expectCovariance(layer, options.covariance);
  const factors = await activationAwareSvd(weight, covariance, { triples });
  if (widths === undefined) {
    const spent = await spendBudget(weight, factors, { allowed, locations, seed, covariance });
    return { parameters: { ...spent }, by: "activation" };
  }
  const { singularValues, ...others } = factors;
  singularValues.dispose();
  const blocks = Math.min(nIn, nOut);
  const places = {
    widths: widthsByRule(widths, { blocks, nIn, nOut }),
    locations: locationsByRule(locations, { blocks, seed }),
  };
  return { parameters: { ...others, ...places }, by: "activation" };
}
