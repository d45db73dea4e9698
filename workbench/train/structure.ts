// The structure of a model while it is learned: the GBLR layers that shrink rules act on, and what they cost, in one
// read from the device.

import { concat, reshape, tidy } from "@tensorflow/tfjs-core";
import { blockUse } from "../gblr/cost.ts";
import type { BudgetLayer } from "../gblr/shrink/index.ts";
import { modelCounts } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import type { StructureMetrics } from "./metrics.ts";

export interface NamedLayer extends BudgetLayer {
  name: string;
}

/** Every GBLR layer, in the model's order. */
export function gblrLayers(model: Model): NamedLayer[] {
  const layers = [...model.layers.values()].filter(({ structure }) => structure.name === "gblr");
  // Where all have the same number of rows a sample costs the same in each.
  const differ = new Set(layers.map(({ rows }) => rows)).size > 1;
  return layers.map(({ name, nIn, nOut, rows }) => ({
    name,
    nIn,
    nOut,
    ...(differ && { uses: rows }),
    rank: model.parameter(`${name}.lr_weight1`).shape[1] as number,
    widths: model.parameter(`${name}.widths`),
    locations: model.parameter(`${name}.locations`),
  }));
}

type Widths = NamedLayer & { values: Float32Array };

async function readWidths(layers: readonly NamedLayer[]): Promise<Widths[]> {
  const all = tidy(() => concat(layers.map(({ widths }) => reshape(widths, [-1]))));
  const values = (await all.data()) as Float32Array;
  all.dispose();
  let end = 0;
  return layers.map((layer) => {
    const start = end;
    end += layer.widths.size;
    return { ...layer, values: values.subarray(start, end) };
  });
}

/**
 * μ, the mean over layers of the mean width of live blocks, and the multiply-adds of the whole samples within the
 * widths as a share of the dense matrices'; whatever σ is.
 */
export async function structureSummary(
  layers: readonly NamedLayer[],
): Promise<{ meanWidth: number; relativeCost: number } | undefined> {
  if (layers.length === 0) return undefined;
  const widths = await readWidths(layers);
  const cost = sum(widths.map((layer) => usesOf(layer) * blockUse(layer.values, shapeOf(layer)).cost));
  const dense = sum(layers.map((layer) => usesOf(layer) * layer.nIn * layer.nOut));
  return { meanWidth: sum(widths.map(({ values }) => meanOfLive(values))) / layers.length, relativeCost: cost / dense };
}

/** Live blocks, cost and widths of every GBLR layer, and what the whole model costs. */
export async function structureNow(model: Model): Promise<Omit<StructureMetrics, "step" | "epoch" | "seconds">> {
  const { sigma } = model.masks;
  const layers: StructureMetrics["layers"] = {};
  for (const layer of await readWidths(gblrLayers(model))) {
    const { live, cost, meanWidth } = blockUse(layer.values, { ...shapeOf(layer), ...(sigma ? { sigma } : {}) });
    const [meanWidthIn, meanWidthOut] = meanWidth;
    layers[layer.name] = { live: live.filter(Boolean).length, cost, meanWidthIn, meanWidthOut };
  }
  const { reference, actual } = await modelCounts(model);
  return {
    kind: "structure",
    layers,
    relativeFlops: { reference: reference.relative, actual: actual.relative },
  };
}

const usesOf = ({ uses = 1 }: NamedLayer) => uses;

const shapeOf = ({ nIn, nOut, rank = 1 }: NamedLayer) => ({ nIn, nOut, rank });

function meanOfLive(widths: Float32Array): number {
  const blocks = widths.length / 2;
  let total = 0;
  for (let k = 0; k < blocks; k++) {
    const [a, b] = [widths[k] as number, widths[blocks + k] as number];
    if (a * b > 0) total += a + b;
  }
  return total / widths.length;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
