// Describes the linear layers of a model: shape, structure, cost and blocks of each, and totals. Reads spans, widths
// and locations, never the weights. `gblr inspect --json` prints the `Inspection`.

import { checkModel, type ModelLayers, openModel, type StoredLayer } from "../../hub/model-folder/index.ts";
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
  /** name of the structure */
  structure: string;
  /** set for GBLR layers only */
  blocks?: BlockSummary;
}

export interface Total {
  layers: number;
  /** multiply-adds per row of input, summed over the layers */
  cost: number;
  /** the same if every layer were dense */
  dense: number;
  /** cost / dense */
  share: number;
}

export interface Inspection {
  /** path or name, as given */
  model: string;
  layers: InspectedLayer[];
  totals: {
    /** the layers that are not dense */
    structured: Total;
    all: Total;
  };
  /** names of the embedding tables; no total includes them */
  embeddings: string[];
}

export interface Described {
  inspection: Inspection;
  /** block layouts of the GBLR layers, by layer name */
  layouts: Map<string, BlockLayout>;
}

interface DescribeOptions {
  /** path or name that the inspection gives the model */
  path: string;
  /** σ of the masks of trainable layers. Default: boxcar masks */
  sigma?: number;
}

/** Layers read concurrently, for a model on the Hub. */
const CONNECTIONS = 8;

/**
 * Describes a model folder or a safetensors file.
 * @throws ModelError or SafetensorsError if it cannot be read
 */
export async function describeModel(path: string): Promise<Described> {
  const model = await openModel(path);
  try {
    const sigma = model.config?.sigma;
    return await describe(await checkModel(model), { path, ...(sigma !== undefined && { sigma }) });
  } finally {
    await model.tensors.close();
  }
}

/** Describes layers that have been found in a model already, on disk or on the Hub. */
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
