// A GBLR layer in a file under the reference's parameter names. Widths and locations are read when asked for, the
// factors never.

import { toFloat32 } from "../safetensors/index.ts";
import { expectBias, expectTensor, type LayerPlace, problemOf } from "./layer-tensors.ts";
import type { TrainableLayer } from "./stored-layer.ts";

/** Both (2, K) row by row, shares of n, input side first. */
export type ReadStructure = () => Promise<{ widths: Float32Array; locations: Float32Array }>;

/** @throws ModelError when tensors do not fit each other */
export function trainableLayer(place: LayerPlace): TrainableLayer {
  const first = expectTensor(place, "lr_weight1", { shape: ["K", "r", "n_in"] });
  const [blocks, rank, nIn] = first as [number, number, number];
  const second = expectTensor(place, "lr_weight2", { shape: [blocks, "n_out", rank] });
  const nOut = second[1] as number;
  for (const part of ["widths", "locations"]) expectTensor(place, part, { shape: [2, blocks] });
  expectBias(place, nOut);
  return { form: "trainable", name: place.layer, nIn, nOut, blocks, rank, readStructure: () => readStructure(place) };
}

async function readStructure(place: LayerPlace): ReturnType<ReadStructure> {
  const read = async (part: string) => {
    const values = toFloat32(await place.tensors.read(`${place.layer}.${part}`));
    if (!values.every(Number.isFinite)) throw problemOf(place, `${part} has a value that is no finite number`);
    return values;
  };
  return { widths: await read("widths"), locations: await read("locations") };
}
