// A layer in a file in any structure but GBLR: its tensors held to the structure's rules and to config.json.

import type { LayerConfig } from "./gblr-config.ts";
import { expectBias, expectTensor, type LayerPlace, problemOf } from "./layer-tensors.ts";
import type { FactoredLayer } from "./stored-layer.ts";
import { FACTORED } from "./structure-rules.ts";

export interface Factored {
  structure: FactoredLayer["structure"];
  settings: LayerConfig | undefined;
}

/** @throws ModelError when a tensor is missing, or misshapen, or does not fit the others */
export function factoredLayer(place: LayerPlace, { structure, settings }: Factored): FactoredLayer {
  const { parts, ranges } = FACTORED[structure];
  const shapes: Record<string, readonly number[]> = {};
  const sizes = new Map<string, number>();
  for (const [part, names] of Object.entries(parts)) {
    const shape = names.map((name) => sizes.get(name) ?? name);
    // A lone file may be of any program's; in a folder of ours all of a structured layer is F32.
    const found = expectTensor(place, part, { shape, ...(settings && { dtype: "F32" }) });
    for (const [axis, name] of names.entries()) sizes.set(name, found[axis] as number);
    shapes[part] = found;
  }
  const { kernel, stride } = settings ?? {};
  const nIn = sizes.get("n_in") ?? ["rows", "columns", "channels"].reduce((n, name) => n * (sizes.get(name) ?? 0), 1);
  const nOut = sizes.get("n_out") as number;
  expectBias(place, nOut);
  if (nIn * nOut === 0) throw problemOf(place, `n_in and n_out must be at least 1, are ${nIn} and ${nOut}`);
  const broken = ranges({ ...Object.fromEntries(sizes), n_in: nIn, n_out: nOut });
  if (broken !== undefined) throw problemOf(place, `${broken}, by the shapes of ${Object.keys(parts).join(", ")}`);
  const { core } = shapes;
  if (core && kernel && (core[0] !== kernel[0] || core[1] !== kernel[1])) {
    throw problemOf(place, `core is of ${core[0]} × ${core[1]}, config.json says kernel: ${kernel.join(" × ")}`);
  }
  return {
    ...{ form: "factored", name: place.layer, structure, isNamed: settings !== undefined, shapes, nIn, nOut },
    ...(kernel && { kernel }),
    ...(stride !== undefined && { stride }),
  };
}
