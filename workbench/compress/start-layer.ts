// The parameters that one layer starts with: the plan's structure fitted to its matrix, by entries, by outputs, or by
// search. One function an initialization; which layers and how dear is the plan's.

import { reshape, squeeze, type Tensor2D, tidy, transpose } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import {
  activationAwareSvd,
  findBlocks,
  locationsByRule,
  spendBudget,
  widthsByRule,
  withGradients,
} from "../gblr/init/index.ts";
import type { GblrOptions } from "../structures/gblr.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import type { PlannedLayer } from "./conversion-plan.ts";
import { layerErrors } from "./layer-errors.ts";

/**
 * `svd`: nearest in its entries; `activation`: nearest in its outputs, for inputs as calibration saw them; `search`:
 * GBLR's budgeted block search.
 */
export const INITS = ["svd", "search", "activation"] as const;
export type Init = (typeof INITS)[number];

/** Structures that each can start; `svd` starts all. */
const STARTS: Readonly<Record<Init, readonly string[] | undefined>> = {
  svd: undefined,
  search: ["gblr"],
  activation: ["gblr", "lowrank"],
};

/** @throws EngineError when there is no such initialization, or none of this structure */
export function expectInit(init: string, structure: string): Init {
  if (!(INITS as readonly string[]).includes(init)) {
    throw new EngineError(`there is no init "${init}": there is ${INITS.join(", ")}`, "give one of these names");
  }
  const known = STARTS[init as Init];
  if (known && !known.includes(structure)) {
    throw new EngineError(`init ${init} is for ${known.join(" and ")}, the structure is ${structure}`, "use init svd");
  }
  return init as Init;
}

export interface StartOptions extends GblrOptions {
  structure: Structure;
  init: Init;
  layer: PlannedLayer;
  /** Σ (n_in, n_in) of its inputs: `activation` needs it */
  covariance?: Tensor2D | undefined;
  /** of `search` */
  searchSteps: number;
  /** ends a search between two of its events */
  signal?: AbortSignal | undefined;
}

/** Engines compute without a pause: lets signals and timers through. */
export const breathe = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

export interface SearchProgress {
  kind: "search";
  name: string;
  step: number;
  steps: number;
  /** ‖W − W'‖ / ‖W‖ so far */
  error: number;
}

export interface StartedLayer {
  /** by the structure's names, the caller's to dispose */
  parameters: StructureParameters;
  /** `svd` where a search found nothing nearer */
  by: Init;
}

/** @param weight float32 (n_out, n_in) */
export async function* startLayer(
  weight: Tensor2D,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { init } = options;
  if (init === "search") return yield* searched(weight, options);
  return { parameters: await (init === "activation" ? byOutputs : byEntries)(weight, options), by: init };
}

async function byEntries(weight: Tensor2D, options: StartOptions): Promise<StructureParameters> {
  const { structure, layer, widths, locations, seed } = options;
  const gblr = { ...(widths && { widths }), ...(locations && { locations }), ...(seed !== undefined && { seed }) };
  return structure.fromDense(weight, layer.allowed / layer.dense, structure.name === "gblr" ? gblr : {});
}

async function* searched(weight: Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> {
  const { layer, structure, searchSteps, signal, seed = 0 } = options;
  const { name, nIn, nOut, cost } = layer;
  const budget = cost / (Math.min(nIn, nOut) * (nIn + nOut));
  for await (const event of findBlocks(weight, { budget, steps: searchSteps, seed })) {
    if (event.type === "progress") {
      yield { kind: "search", name, step: event.step, steps: event.steps, error: event.error };
      await breathe();
      signal?.throwIfAborted();
    } else {
      const { widths, ...others } = event.parameters;
      const found = { ...others, widths: await withGradients(widths, { nIn, nOut }) };
      // The search knows blocks of full width only to fall back on, and leaves the last samples of the budget.
      const plain = await byEntries(weight, options);
      const [nearer, other] =
        event.from === "search" && event.error <= (await errorOf(weight, structure, plain))
          ? [{ parameters: found, by: "search" as const }, plain]
          : [{ parameters: plain, by: "svd" as const }, found];
      for (const tensor of Object.values(other)) tensor.dispose();
      return nearer;
    }
  }
  throw new EngineError(`the block search of ${name} ended without a result`, "report this");
}

async function errorOf(weight: Tensor2D, structure: Structure, parameters: StructureParameters): Promise<number> {
  const dense = structure.dense(parameters);
  const { error } = await layerErrors(weight, dense);
  dense.dispose();
  return error;
}

async function byOutputs(weight: Tensor2D, options: StartOptions): Promise<StructureParameters> {
  const { structure, layer, covariance, widths, locations = "linspace", seed = 0 } = options;
  const { name, nIn, nOut, cost, allowed } = layer;
  if (!covariance) {
    throw new EngineError(`init activation: ${name} has no covariance of its inputs`, "calibrate it first");
  }
  if (structure.name === "lowrank") {
    const factors = await activationAwareSvd(weight, covariance, { blocks: cost / (nIn + nOut) });
    const { lr_weight1, lr_weight2, singularValues } = factors;
    const parameters = tidy(() => ({
      left: transpose(squeeze(lr_weight2, [2]) as Tensor2D),
      right: reshape(lr_weight1, [lr_weight1.shape[0], nIn]),
    }));
    for (const tensor of [lr_weight1, lr_weight2, singularValues]) tensor.dispose();
    return parameters;
  }
  const factors = await activationAwareSvd(weight, covariance);
  if (widths === undefined)
    return { ...(await spendBudget(weight, factors, { allowed, locations, seed, covariance })) };
  const { singularValues, ...others } = factors;
  singularValues.dispose();
  const blocks = Math.min(nIn, nOut);
  return {
    ...others,
    widths: widthsByRule(widths, { blocks, nIn, nOut }),
    locations: locationsByRule(locations, { blocks, seed }),
  };
}
