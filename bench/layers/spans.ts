// The spans that block searches found on four layers of SmolLM2-135M-Instruct, and packed matrices of other sizes with
// spans like them. Tensors are named `kind/share/layer`: `compact` spans are those of a search, `compact-16` those with a
// quantum of 16, `stable-16` those of stable blocks with a quantum of 16; the share is that of the multiply-adds.

import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import type { PackedGblr } from "../../workbench/gblr/packed.ts";

/** Spans of B blocks, and the size of their matrix. */
export interface FoundSpans {
  /** (4, B) row by row, as in packed matrices */
  spans: Int32Array;
  nIn: number;
  nOut: number;
  quantum: number;
}

/** Sizes of the matrices that the spans were found on, (n_out, n_in). */
const SIZES: Readonly<Record<string, [number, number]>> = {
  "27.q_proj": [576, 576],
  "14.o_proj": [576, 576],
  "14.gate_proj": [1536, 576],
  "14.down_proj": [576, 1536],
};

/** The spans of all searches by the names of their tensors. */
export async function readSpans(): Promise<Map<string, FoundSpans>> {
  const tensors = await readSafetensors(fileURLToPath(new URL("smollm2-spans.safetensors", import.meta.url)));
  return new Map(
    [...tensors].map(([name, { data }]) => {
      const [kind, , layer] = name.split("/") as [string, string, string];
      const [nOut, nIn] = SIZES[layer] as [number, number];
      return [name, { spans: data as Int32Array, nIn, nOut, quantum: kind.endsWith("-16") ? 16 : 1 }];
    }),
  );
}

/**
 * A packed matrix of any size whose spans cover the same shares of its sides, with random values. The number of blocks is
 * such that it has the same share of the dense multiply-adds, or `share`. The caller disposes of the tensors.
 */
export function packedLike(
  found: FoundSpans,
  { nIn, nOut, ...size }: { nIn: number; nOut: number; share?: number },
): PackedGblr {
  const count = found.spans.length / 4;
  const row = (i: number) => found.spans.subarray(i * count, (i + 1) * count);
  const sum = (lengths: Int32Array) => lengths.reduce((total, length) => total + length, 0);
  const foundCost = (sum(row(1)) * nIn) / found.nIn + (sum(row(3)) * nOut) / found.nOut;
  const { share = (sum(row(1)) + sum(row(3))) / (found.nIn * found.nOut) } = size;
  const blocks = Math.round((share * nIn * nOut) / (foundCost / count));
  const chosen = Array.from({ length: blocks }, (_, b) => Math.floor((b * count) / blocks));
  const sides = [
    { start: row(0), length: row(1), from: found.nIn, to: nIn },
    { start: row(2), length: row(3), from: found.nOut, to: nOut },
  ].map(({ start, length, from, to }) => {
    const scaled = (sample: number) => found.quantum * Math.round((sample * to) / from / found.quantum);
    const edges = chosen.map((b) => {
      const [first, end] = [start[b] as number, (start[b] as number) + (length[b] as number)];
      return [scaled(first), end === from ? to : scaled(end)] as const;
    });
    return { starts: edges.map(([first]) => first), lengths: edges.map(([first, end]) => Math.max(2, end - first)) };
  });
  const [input, output] = sides as [(typeof sides)[0], (typeof sides)[0]];
  const values = (lengths: number[]) => tf.randomNormal([lengths.reduce((total, length) => total + length, 0)]);
  return {
    spans: tf.tensor2d([input.starts, input.lengths, output.starts, output.lengths], [4, blocks], "int32"),
    values_in: values(input.lengths) as tf.Tensor1D,
    values_out: values(output.lengths) as tf.Tensor1D,
    nIn,
    nOut,
  };
}
