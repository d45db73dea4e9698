// GBLR layers in a file, checked by the rules of docs/format.md, in both forms: packed (live blocks only) and trainable
// (all blocks with widths and locations). Spans, widths and locations are read once, on demand; factors and values are
// not read.

import { toFloat32, toFloat64 } from "../safetensors/index.ts";
import type { LayerConfig } from "./gblr-config.ts";
import {
  expectBias,
  expectTensor,
  geometryOf,
  type Layer,
  type LayerPlace,
  onlyOnce,
  problemOf,
} from "./layer-tensors.ts";
import { MOST_VALUES, STORED_GBLR } from "./structures.ts";

/** A packed GBLR layer. */
export interface PackedLayer extends Layer {
  /** K, including dead blocks */
  blocks: number;
  /** (4, B) row by row: start_in, length_in, start_out, length_out, in samples */
  readSpans(): Promise<Int32Array>;
  readStructure?: never;
}

/** Tensors of a packed GBLR layer. */
export const PACKED_PARTS = ["spans", "values_in", "values_out"] as const;

/**
 * Opens a packed layer.
 * @param config required, because tensors do not determine n_in and n_out
 * @throws ModelError when there is no config, or tensors do not fit it
 */
export function packedLayer(place: LayerPlace, config: LayerConfig | undefined): PackedLayer {
  if (!config) {
    throw problemOf(place, "is packed, but no config.json in its folder gives its n_in and n_out under gblr.layers");
  }
  const { nIn, nOut } = config;
  const [, live] = expectTensor(place, "spans", { shape: [4, "B"], dtypes: ["I32"] }) as [number, number];
  for (const side of ["in", "out"]) {
    expectTensor(place, `values_${side}`, { shape: [`Σ length_${side}`], dtypes: config.types });
  }
  const blocks = config.blocks ?? live;
  if (live > blocks) throw problemOf(place, `spans has ${live} blocks, config.json says blocks: ${blocks}`);
  expectBias(place, nOut);
  const readSpans = onlyOnce(() => readCheckedSpans(place, config));
  return {
    ...{ name: place.layer, nIn, nOut, structure: STORED_GBLR.name, isNamed: true, buffers: [] },
    ...{ shapes: shapesOf(place, PACKED_PARTS), blocks, readSpans },
    ...geometryOf(config),
    check: async () => {
      await readSpans();
    },
  };
}

async function readCheckedSpans(place: LayerPlace, { nIn, nOut, types }: LayerConfig): Promise<Int32Array> {
  const spans = (await place.tensors.read(`${place.layer}.spans`)).data as Int32Array;
  const checked = checkSpans(spans, { nIn, nOut });
  if (checked.bad) throw problemOf(place, describeBadSpan(checked.bad));
  for (const side of ["in", "out"] as const) {
    const why = ", the sum of the lengths in spans";
    expectTensor(place, `values_${side}`, { shape: [checked.values[side]], dtypes: types, why });
  }
  return spans;
}

function describeBadSpan({ rule, side, block, start, length, n }: BadSpan): string {
  const requirement = {
    length: `length_${side} of block ${block} must be in 2 … ${n}`,
    start: `start_${side} of block ${block} must be in 0 … ${n - 1}`,
    "full turn": `block ${block} covers the whole side and must start at 0`,
  }[rule];
  return `${requirement}, is start_${side} ${start}, length_${side} ${length} in spans`;
}

/** A trainable GBLR layer: all blocks with widths and locations, under the reference's parameter names. */
export interface TrainableLayer extends Layer {
  blocks: number;
  /** rank r of each block */
  rank: number;
  /** reads widths and locations: each (2, K), row-major, as fractions of n; row 0 is the input side */
  readStructure(): Promise<{ widths: Float32Array; locations: Float32Array }>;
  readSpans?: never;
}

/** Tensors of a trainable GBLR layer. */
export const TRAINABLE_PARTS = ["lr_weight1", "lr_weight2", "widths", "locations"] as const;

/** Buffers of the reference's layers. They only repeat information that is in config.json. */
export const REFERENCE_BUFFERS = ["sigma", "freq_in", "freq_out"] as const;

/**
 * Opens a trainable layer.
 * @throws ModelError when tensors do not fit each other or config.json
 */
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
  const readStructure = onlyOnce(() => readCheckedStructure(place, { nIn, nOut }));
  return {
    ...{ name: place.layer, nIn, nOut, structure: STORED_GBLR.name, isNamed: true, buffers: REFERENCE_BUFFERS },
    ...{ shapes: shapesOf(place, TRAINABLE_PARTS), blocks, rank, readStructure },
    ...geometryOf(config),
    check: async () => {
      await readStructure();
    },
  };
}

async function readCheckedStructure(
  place: LayerPlace,
  { nIn, nOut }: { nIn: number; nOut: number },
): ReturnType<TrainableLayer["readStructure"]> {
  const read = async (part: string) => {
    const values = toFloat32(await place.tensors.read(`${place.layer}.${part}`));
    if (!values.every(Number.isFinite)) throw problemOf(place, `${part} has a value that is not finite`);
    // Widths and locations are shares of n, and their samples must fit into 32 bits.
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

function shapesOf({ layer, tensors }: LayerPlace, parts: readonly string[]): Layer["shapes"] {
  return Object.fromEntries(parts.map((part) => [part, tensors.tensors.get(`${layer}.${part}`)?.shape ?? []]));
}

/** The first broken rule of a span. */
export interface BadSpan {
  rule: "start" | "length" | "full turn";
  side: "in" | "out";
  block: number;
  start: number;
  length: number;
  /** samples of the side */
  n: number;
}

/** Number of values that the spans of each side cover, or the first span that breaks a rule. */
export type CheckedSpans = { bad: BadSpan } | { bad: undefined; values: { in: number; out: number } };

/**
 * Checks the rules of spans.
 * @param spans (4, B) row by row: start_in, length_in, start_out, length_out, in samples
 */
export function checkSpans(spans: ArrayLike<number>, { nIn, nOut }: { nIn: number; nOut: number }): CheckedSpans {
  const blocks = spans.length / 4;
  const values = { in: 0, out: 0 };
  for (const [row, side, n] of [
    [0, "in", nIn],
    [2, "out", nOut],
  ] as const) {
    for (let block = 0; block < blocks; block++) {
      const start = spans[row * blocks + block] as number;
      const length = spans[(row + 1) * blocks + block] as number;
      const rule = brokenSpanRule(start, length, n);
      if (rule) return { bad: { rule, side, block, start, length, n } };
      values[side] += length;
    }
  }
  return { bad: undefined, values };
}

function brokenSpanRule(start: number, length: number, n: number): BadSpan["rule"] | undefined {
  if (!(length >= 2 && length <= n)) return "length";
  if (!(start >= 0 && start < n)) return "start";
  return length === n && start !== 0 ? "full turn" : undefined;
}
