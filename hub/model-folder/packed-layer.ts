// A packed GBLR layer in a file, held to the rules of docs/format.md. Its spans are read once, when they are asked for;
// its values never.

import type { LayerConfig } from "./gblr-config.ts";
import { expectBias, expectTensor, type LayerPlace, onlyOnce, problemOf } from "./layer-tensors.ts";
import { type BadSpan, checkSpans } from "./span-rules.ts";
import type { PackedLayer } from "./stored-layer.ts";

/** (4, B) row by row: start_in, length_in, start_out, length_out, in samples. */
export type ReadSpans = () => Promise<Int32Array>;

export const PACKED_PARTS = ["spans", "values_in", "values_out"] as const;

/**
 * @param config sizes are not in the tensors
 * @throws ModelError when there is no config, or tensors do not fit it
 */
export function packedLayer(place: LayerPlace, config: LayerConfig | undefined): PackedLayer {
  if (!config) {
    throw problemOf(place, "is packed, and no config.json beside the file gives its n_in and n_out under gblr.layers");
  }
  const { nIn, nOut, kernel, stride } = config;
  const [, live] = expectTensor(place, "spans", { shape: [4, "B"], dtype: "I32" }) as [number, number];
  for (const side of ["in", "out"]) {
    expectTensor(place, `values_${side}`, { shape: [`Σ length_${side}`], dtype: "F32" });
  }
  const blocks = config.blocks ?? live;
  if (live > blocks) throw problemOf(place, `spans has ${live} blocks, config.json says blocks: ${blocks}`);
  expectBias(place, nOut);
  const readSpans = onlyOnce(() => readCheckedSpans(place, config));
  return {
    ...{ form: "packed", name: place.layer, nIn, nOut, blocks, readSpans },
    ...(kernel && { kernel }),
    ...(stride !== undefined && { stride }),
  };
}

async function readCheckedSpans(place: LayerPlace, { nIn, nOut }: LayerConfig): Promise<Int32Array> {
  const spans = (await place.tensors.read(`${place.layer}.spans`)).data as Int32Array;
  const checked = checkSpans(spans, { nIn, nOut });
  if (checked.bad) throw problemOf(place, describeBadSpan(checked.bad));
  for (const side of ["in", "out"] as const) {
    const why = ", which is what the lengths in spans add up to";
    expectTensor(place, `values_${side}`, { shape: [checked.values[side]], dtype: "F32", why });
  }
  return spans;
}

function describeBadSpan({ rule, side, block, start, length, n }: BadSpan): string {
  const requirement = {
    length: `length_${side} of block ${block} must be in 2 … ${n}`,
    start: `start_${side} of block ${block} must be in 0 … ${n - 1}`,
    "full turn": `a full turn, as block ${block} is, must start at 0`,
  }[rule];
  return `${requirement}, is start_${side} ${start}, length_${side} ${length} in spans`;
}
