// A GBLR layer in a file under the reference's parameter names. Widths and locations are read once, when they are asked
// for; the factors never.

import { toFloat32, toFloat64 } from "../safetensors/index.ts";
import type { LayerConfig } from "./gblr-config.ts";
import { expectBias, expectTensor, type LayerPlace, onlyOnce, problemOf } from "./layer-tensors.ts";
import type { TrainableLayer } from "./stored-layer.ts";
import { MOST_VALUES } from "./structure-rules.ts";

/** Both (2, K) row by row, shares of n, input side first. */
export type ReadStructure = () => Promise<{ widths: Float32Array; locations: Float32Array }>;

/** What the model is; the reference's files may have its buffers `sigma`, `freq_in` and `freq_out` too. */
export const TRAINABLE_PARTS = ["lr_weight1", "lr_weight2", "widths", "locations"] as const;

/** @throws ModelError when tensors do not fit each other, or config.json */
export function trainableLayer(place: LayerPlace, config: LayerConfig | undefined): TrainableLayer {
  const first = expectTensor(place, "lr_weight1", { shape: ["K", "r", "n_in"] });
  const [blocks, rank, nIn] = first as [number, number, number];
  const second = expectTensor(place, "lr_weight2", { shape: [blocks, "n_out", rank] });
  const nOut = second[1] as number;
  for (const part of ["widths", "locations"]) expectTensor(place, part, { shape: [2, blocks] });
  if (place.tensors.tensors.has(`${place.layer}.sigma`)) expectTensor(place, "sigma", { shape: [] });
  expectBias(place, nOut);
  if (blocks * rank * nIn * nOut === 0) throw problemOf(place, "lr_weight1 and lr_weight2 must not be empty");
  if (config?.blocks !== undefined && config.blocks !== blocks * rank) {
    throw problemOf(place, `lr_weight1 has ${blocks} · ${rank} blocks of rank 1, config.json says ${config.blocks}`);
  }
  const { kernel, stride } = config ?? {};
  const readStructure = onlyOnce(() => readCheckedStructure(place, { nIn, nOut }));
  return {
    ...{ form: "trainable", name: place.layer, nIn, nOut, blocks, rank, readStructure },
    ...(kernel && { kernel }),
    ...(stride !== undefined && { stride }),
  };
}

async function readCheckedStructure(
  place: LayerPlace,
  { nIn, nOut }: { nIn: number; nOut: number },
): ReturnType<ReadStructure> {
  const read = async (part: string) => {
    const values = toFloat32(await place.tensors.read(`${place.layer}.${part}`));
    if (!values.every(Number.isFinite)) throw problemOf(place, `${part} has a value that is no finite number`);
    // They are shares of n, and samples are counted in 32 bits.
    const most = MOST_VALUES / Math.max(nIn, nOut);
    const large = values.find((value) => Math.abs(value) > most);
    if (large !== undefined) throw problemOf(place, `${part} must be shares of n, has ${large}`);
    return values;
  };
  const found = { widths: await read("widths"), locations: await read("locations") };
  const name = `${place.layer}.sigma`;
  const [sigma = 1] = place.tensors.tensors.has(name) ? toFloat64(await place.tensors.read(name)) : [];
  if (!(sigma > 0)) throw problemOf(place, `sigma must be positive, is ${sigma}`);
  return found;
}
