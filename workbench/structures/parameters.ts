// Takes a structure's parameters out of the record that holds them, and names the one that is not there.

import type { Tensor } from "@tensorflow/tfjs-core";
import { ShapeError } from "../engine/core/errors.ts";
import type { StructureParameters } from "./structure.ts";

/** @throws ShapeError such as `lowrank: right is missing, there is left` */
export function parametersNamed<Name extends string>(
  structure: string,
  parameters: StructureParameters,
  names: readonly Name[],
): Record<Name, Tensor> {
  const found = {} as Record<Name, Tensor>;
  for (const name of names) {
    const tensor = parameters[name];
    if (tensor === undefined) {
      const present = Object.keys(parameters).join(", ") || "nothing";
      throw new ShapeError(`${structure}: ${name} is missing, there is ${present}`);
    }
    found[name] = tensor;
  }
  return found;
}
