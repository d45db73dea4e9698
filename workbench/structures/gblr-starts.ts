// The initializations of a GBLR matrix other than `svd`. `search` finds places and widths of blocks within the budget;
// it minimizes the output error for the covariance found by calibration, or without one the error of the entries.
// `activation` minimizes the output error of blocks of full width.

import { dispose, ones, reshape, slice, type Tensor2D, tidy, transpose, zeros } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import {
  activationAwareSvd,
  findBlocks,
  locationsByRule,
  spendBudget,
  widthsByRule,
  withGradients,
} from "../gblr/init/index.ts";
import { searchTiles } from "../gblr/tiles/search.ts";
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

/** Initialization `search`: by outputs if the covariance of the layer's inputs is known, by entries if not. */
export async function* byBlockSearch(
  weight: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { covariance } = options;
  return yield* covariance ? searchByOutputs(weight, covariance, options) : searchByEntries(weight, options);
}

/** The blocks found by the search in the metric of outputs, or those of `activation` if it finds none. */
async function* searchByOutputs(
  weight: Tensor2D,
  covariance: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { layer, quantum = 1, blockRank = 1, stableBlocks: stable, signal } = options;
  for await (const event of searchTiles(weight, covariance, { allowed: layer.cost, quantum, blockRank, stable })) {
    if (event.type === "found") {
      const { parameters, tiles } = event;
      return { parameters: { ...parameters }, by: "search", tiles };
    }
    yield { kind: "search", name: layer.name, step: event.step, steps: event.steps, error: event.error };
    await eventLoopTurn();
    signal?.throwIfAborted();
  }
  if (blockRank > 1) return { parameters: await wholeBlocks(weight, covariance, options), by: "activation" };
  const { widths: _, ...others } = options;
  const { nIn, nOut, allowed } = layer;
  // Without a remainder of the budget there is no narrower block, whose width would be no multiple of the quantum.
  const whole = quantum === 1 ? layer : { ...layer, allowed: allowed - (allowed % (nIn + nOut)) };
  return yield* nearestInOutputs(weight, { ...others, layer: whole });
}

/**
 * As many blocks of a rank and of full width as are affordable, nearest in outputs.
 * @throws EngineError if not even one is
 */
async function wholeBlocks(
  weight: Tensor2D,
  covariance: Tensor2D,
  options: StartOptions,
): Promise<StructureParameters> {
  const { layer, blockRank: rank = 1, triples } = options;
  const { name, nIn, nOut, allowed } = layer;
  const blocks = Math.min(Math.floor(allowed / (rank * (nIn + nOut))), Math.floor(Math.min(nIn, nOut) / rank));
  if (blocks === 0) {
    throw new EngineError(
      `${name} may cost ${allowed} multiply-adds per row, one block of rank ${rank} costs ${rank * (nIn + nOut)}`,
      "give a smaller --block-rank, or leave the layer out with --layers",
    );
  }
  const { singularValues, lr_weight1, lr_weight2 } = await activationAwareSvd(weight, covariance, { triples });
  const parameters = tidy(() => {
    const ranks = [blocks, rank] as const;
    const outputs = reshape(slice(lr_weight2, 0, blocks * rank), [...ranks, nOut]);
    return {
      lr_weight1: reshape(slice(lr_weight1, 0, blocks * rank), [...ranks, nIn]),
      lr_weight2: transpose(outputs, [0, 2, 1]),
      widths: ones([2, blocks]),
      locations: zeros([2, blocks]),
    };
  });
  dispose([singularValues, lr_weight1, lr_weight2]);
  return parameters;
}

/** The blocks found by the search by entries, or those of `svd` if their error is smaller. */
async function* searchByEntries(weight: Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> {
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
