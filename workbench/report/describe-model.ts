// A model's linear layers in numbers: each one's summary and the totals. Reads spans, widths and locations through the
// layers; prints nothing. `Inspection` is what `gblr inspect --json` prints.

import { isDense, type ModelLayers, type StoredLayer } from "../../hub/model-folder/index.ts";
import { eachOf } from "../../hub/request/emitting.ts";
import { structureNamed } from "../structures/registry.ts";
import type { BlockLayout, Inspected } from "../structures/structure.ts";
import { type BlockSummary, costOf, type LayerCost, type Size, summarizeBlocks } from "./layer-summary.ts";

export interface InspectedLayer extends Size, LayerCost {
  name: string;
  /** as the structures are named */
  structure: string;
  /** of GBLR layers */
  blocks?: BlockSummary;
}

export interface Total {
  layers: number;
  /** multiply-adds a row, all layers together */
  cost: number;
  /** the same with every layer dense */
  dense: number;
  /** cost / dense */
  share: number;
}

export interface Inspection {
  /** path or name as it was given */
  model: string;
  layers: InspectedLayer[];
  totals: {
    /** layers that are not dense */
    structured: Total;
    all: Total;
  };
  /** tables that are looked up: in no total */
  embeddings: string[];
}

export interface Described {
  inspection: Inspection;
  /** of GBLR layers, by name */
  layouts: Map<string, BlockLayout>;
}

export interface DescribeOptions {
  /** what the user calls the model */
  path: string;
  /** of the masks of trainable layers; default: no Gaussian */
  sigma?: number;
}

/** Layers read at a time, for a model that is on the Hub. */
const CONNECTIONS = 8;

export async function describe(
  { layers, embeddings }: ModelLayers,
  { path, sigma }: DescribeOptions,
): Promise<Described> {
  const found: Inspected[] = [];
  await eachOf([...layers.entries()], { connections: CONNECTIONS }, async ([i, layer]) => {
    found[i] = await inspected(layer, sigma);
  });
  const layouts = new Map(
    layers.flatMap(({ name }, i) => (found[i]?.blocks ? [[name, found[i].blocks.layout] as const] : [])),
  );
  const described = layers.map((layer, i) => describeLayer(layer, found[i] as Inspected));
  const structured = described.filter(({ structure }) => !isDense(structure));
  const totals = { structured: totalOf(structured), all: totalOf(described) };
  return { inspection: { model: path, layers: described, totals, embeddings }, layouts };
}

/** By the layer's structure; default one multiply-add for each stored value. */
async function inspected(layer: StoredLayer, sigma: number | undefined): Promise<Inspected> {
  const found = await structureNamed(layer.structure).inspect?.(layer, { sigma });
  const size = (shape: readonly number[]) => shape.reduce((product, side) => product * side, 1);
  return found ?? { cost: sum(Object.values(layer.shapes).map(size)) };
}

function describeLayer({ name, structure, nIn, nOut }: StoredLayer, { cost, blocks }: Inspected): InspectedLayer {
  return {
    ...{ name, structure, nIn, nOut, ...costOf(cost, { nIn, nOut }) },
    ...(blocks && { blocks: summarizeBlocks(blocks.layout, blocks) }),
  };
}

function totalOf(layers: readonly InspectedLayer[]): Total {
  const [cost, dense] = [sum(layers.map((layer) => layer.cost)), sum(layers.map(({ nIn, nOut }) => nIn * nOut))];
  return { layers: layers.length, cost, dense, share: dense > 0 ? cost / dense : 0 };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
