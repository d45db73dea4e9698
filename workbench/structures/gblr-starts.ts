// How a GBLR matrix starts when a conversion asks for more than the nearest entries: by the budgeted block search, or
// nearest in the outputs for inputs as calibration saw them.

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

/** The search's blocks, or those of singular triples where these are nearer. */
export async function* byBlockSearch(
  weight: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { layer, structure, searchSteps, signal, locations, seed = 0 } = options;
  const { name, nIn, nOut, cost, allowed } = layer;
  const budget = cost / (Math.min(nIn, nOut) * (nIn + nOut));
  for await (const event of findBlocks(weight, { budget, steps: searchSteps, seed })) {
    if (event.type === "progress") {
      yield { kind: "search", name, step: event.step, steps: event.steps, error: event.error };
      await eventLoopTurn();
      signal?.throwIfAborted();
      continue;
    }
    const { widths, ...others } = event.parameters;
    const found = { ...others, widths: await withGradients(widths, { nIn, nOut }) };
    // The search knows blocks of full width only to fall back on, and leaves the last samples of the budget.
    const plain = await structure.fromDense(weight, allowed / (nIn * nOut), { ...(locations && { locations }), seed });
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

/** As many triples as the budget pays for, by what they do to real inputs. */
// biome-ignore lint/correctness/useYield: nothing is reported on the way
export async function* nearestInOutputs(
  weight: Tensor2D,
  { layer, widths, locations = "linspace", seed = 0, ...options }: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { nIn, nOut, allowed } = layer;
  const covariance = expectCovariance(layer, options.covariance);
  const factors = await activationAwareSvd(weight, covariance);
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
