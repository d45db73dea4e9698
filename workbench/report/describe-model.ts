// A model's linear layers in numbers: each one's summary and the totals. Reads spans, widths and locations through the
// layers; prints nothing. `Inspection` is what `gblr inspect --json` prints.

import type { ModelLayers, StoredLayer } from "../../hub/model-folder/index.ts";
import { eachOf } from "../../hub/request/emitting.ts";
import { type BlockLayout, layoutOfSpans, layoutOfWidths } from "./block-layout.ts";
import {
  type BlockSummary,
  blockCost,
  costOf,
  factoredCost,
  type LayerCost,
  type Size,
  summarizeBlocks,
} from "./layer-summary.ts";

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
  const found: (BlockLayout | undefined)[] = [];
  await eachOf([...layers.entries()], { connections: CONNECTIONS }, async ([i, layer]) => {
    found[i] = await layoutOf(layer, sigma);
  });
  const layouts = new Map(layers.flatMap(({ name }, i) => (found[i] ? [[name, found[i]] as const] : [])));
  const inspected = layers.map((layer, i) => inspectLayer(layer, found[i]));
  const structured = inspected.filter(({ structure }) => structure !== "dense");
  const totals = { structured: totalOf(structured), all: totalOf(inspected) };
  return { inspection: { model: path, layers: inspected, totals, embeddings }, layouts };
}

async function layoutOf(layer: StoredLayer, sigma: number | undefined): Promise<BlockLayout | undefined> {
  if (layer.form === "packed") return layoutOfSpans(await layer.readSpans(), layer);
  if (layer.form !== "trainable") return undefined;
  const { nIn, nOut } = layer;
  return layoutOfWidths({ ...(await layer.readStructure()), nIn, nOut, ...(sigma !== undefined && { sigma }) });
}

function inspectLayer(layer: StoredLayer, layout: BlockLayout | undefined): InspectedLayer {
  const { name, nIn, nOut } = layer;
  if (layer.form === "dense") return { name, structure: "dense", nIn, nOut, ...costOf(nIn * nOut, layer) };
  if (layer.form === "factored") {
    return { name, structure: layer.structure, nIn, nOut, ...costOf(factoredCost(layer.shapes, layer.stride), layer) };
  }
  const rank = layer.form === "trainable" ? layer.rank : 1;
  const blocks = layout as BlockLayout;
  return {
    name,
    structure: "gblr",
    nIn,
    nOut,
    ...costOf(blockCost(blocks, rank), layer),
    blocks: summarizeBlocks(blocks, { all: layer.blocks, rank }),
  };
}

function totalOf(layers: readonly InspectedLayer[]): Total {
  const [cost, dense] = [sum(layers.map((layer) => layer.cost)), sum(layers.map(({ nIn, nOut }) => nIn * nOut))];
  return { layers: layers.length, cost, dense, share: dense > 0 ? cost / dense : 0 };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
