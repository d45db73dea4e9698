// What the structures of GBLR layers share that are for inference: they have no gradient, layers cannot be converted to
// them, and their values are those of the blocks on both sides.

import type { Tensor } from "@tensorflow/tfjs-core";
import { STORED_GBLR } from "../../../hub/model-folder/index.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { Structure, StructureParameters } from "../structure.ts";

/** Properties of a structure whose parameters include `values_in` and `values_out`. */
export function inferenceOnly(name: string) {
  return {
    name,
    stored: STORED_GBLR,
    isStoredOnly: true,
    isTrainable: false,
    fromDense: () => Promise.reject(noConversion(name)),
    costWithin: () => {
      throw noConversion(name);
    },
    cost: async ({ values_in, values_out }: StructureParameters) =>
      (values_in as Tensor).size + (values_out as Tensor).size,
  } satisfies Partial<Structure>;
}

/** The error of a conversion to such a structure. */
export const noConversion = (name: string) => new EngineError(`layers cannot be converted to ${name}`, 'use "gblr"');
