// A packed GBLR layer in a file, held to the rules of docs/format.md. Its spans are read when asked for, its values
// never.

import type { LayerConfig } from "./gblr-config.ts";
import { expectBias, expectTensor, type LayerPlace, problemOf } from "./layer-tensors.ts";
import type { PackedLayer } from "./stored-layer.ts";

/** (4, B) row by row: start_in, length_in, start_out, length_out, in samples. */
export type ReadSpans = () => Promise<Int32Array>;

/**
 * @param config sizes are not in the tensors
 * @throws ModelError when there is no config, or tensors do not fit it
 */
export function packedLayer(place: LayerPlace, config: LayerConfig | undefined): PackedLayer {
  if (!config) {
    throw problemOf(place, "is packed, and no config.json beside the file gives its n_in and n_out under gblr.layers");
  }
  const { nIn, nOut } = config;
  const [, live] = expectTensor(place, "spans", { shape: [4, "B"], dtype: "I32" }) as [number, number];
  const blocks = config.blocks ?? live;
  if (live > blocks) throw problemOf(place, `spans has ${live} blocks, config.json says blocks: ${blocks}`);
  expectBias(place, nOut);
  return { form: "packed", name: place.layer, nIn, nOut, blocks, readSpans: () => readSpans(place, config) };
}

async function readSpans(place: LayerPlace, { nIn, nOut }: LayerConfig): Promise<Int32Array> {
  const spans = (await place.tensors.read(`${place.layer}.spans`)).data as Int32Array;
  const live = spans.length / 4;
  for (const [row, { side, n }] of [
    { side: "in", n: nIn },
    { side: "out", n: nOut },
  ].entries()) {
    let values = 0;
    for (let b = 0; b < live; b++) {
      const start = spans[2 * row * live + b] as number;
      const length = spans[(2 * row + 1) * live + b] as number;
      expectSpan(place, { block: b, side, n, start, length });
      values += length;
    }
    expectTensor(place, `values_${side}`, { shape: [values], dtype: "F32" });
  }
  return spans;
}

function expectSpan(
  place: LayerPlace,
  { block, side, n, start, length }: { block: number; side: string; n: number; start: number; length: number },
): void {
  const expect = (met: boolean, requirement: string) => {
    if (!met) throw problemOf(place, `${requirement}, is start_${side} ${start}, length_${side} ${length}`);
  };
  expect(length >= 2 && length <= n, `length_${side} of block ${block} must be in 2 … ${n}`);
  expect(start >= 0 && start < n, `start_${side} of block ${block} must be in 0 … ${n - 1}`);
  expect(length < n || start === 0, `a full turn, as block ${block} is, must start at 0`);
}
