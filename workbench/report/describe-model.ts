// Describes the linear layers of a model: shape, structure, cost and blocks of each, and totals. Reads spans, widths
// and locations, never the weights. `gblr inspect --json` prints the `Inspection`.

import { checkModel, isDense, type ModelLayers, openModel, type StoredLayer } from "../../hub/model-folder/index.ts";
import { eachOf } from "../../hub/request/emitting.ts";
import { type KnownForm, knownForms, LEAST_ENTRIES, type MeasuredForms } from "../structures/inference/kept-forms.ts";
import { structureNamed } from "../structures/registry.ts";
import type { BlockLayout, Inspected } from "../structures/structure.ts";
import { type BlockSummary, costOf, type LayerCost, type Size, summarizeBlocks } from "./layer-summary.ts";

/** A layer of the inspection. */
export interface InspectedLayer extends Size, LayerCost {
  name: string;
  /** name of the structure */
  structure: string;
  /** set for GBLR layers only */
  blocks?: BlockSummary;
  /** the form that is chosen in inference, by number of rows and settings of the engine; absent if none was measured */
  forms?: KnownForm[];
}

/** Totals over several layers. */
export interface Total {
  layers: number;
  /** multiply-adds per row of input, summed over the layers */
  cost: number;
  /** multiply-adds per row of input of the same layers when dense */
  dense: number;
  /** cost / dense */
  share: number;
}

/** The description of a model, which `gblr inspect --json` prints. */
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
  /** of a model of several sizes: the smallest and the largest share to which it can be cut */
  sizes?: readonly [number, number];
}

/** The description of a model with its block layouts. */
export interface Described {
  inspection: Inspection;
  /** block layouts of the GBLR layers, by layer name */
  layouts: Map<string, BlockLayout>;
  /** names of the layers that can have several forms in inference and are large enough that these are timed */
  timed: ReadonlySet<string>;
}

interface DescribeOptions {
  /** path or name that the inspection gives the model */
  path: string;
  /** σ of the masks of trainable layers. Default: boxcar masks */
  sigma?: number;
  /** of a model of several sizes: the smallest and the largest share. Default: it has one size */
  sizes?: readonly [number, number];
  /** the choices of forms that were measured. Default none */
  choices?: MeasuredForms;
}

/** Number of layers that are read concurrently, for models on the Hub. */
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

/** A layer with its cost and, if it has blocks, their layout. */
export interface LayerLayout extends Size, LayerCost {
  name: string;
  /** name of the structure */
  structure: string;
  /** `all`: the number of blocks, dead ones included; `rank`: the rank of each */
  blocks?: { layout: BlockLayout; all: number; rank: number };
}

/**
 * The layers of a model folder or a safetensors file without the numbers of `describeModel` about overlaps, which take
 * time for large matrices.
 * @throws ModelError or SafetensorsError if it cannot be read
 */
export async function readLayouts(path: string): Promise<LayerLayout[]> {
  const model = await openModel(path);
  try {
    const { layers } = await checkModel(model);
    const found = await inspectedLayers(layers, model.config?.sigma);
    return layers.map(({ name, structure, nIn, nOut }, i) => {
      const { cost, blocks } = found[i] as Inspected;
      return { name, structure, nIn, nOut, ...costOf(cost, { nIn, nOut }), ...(blocks && { blocks }) };
    });
  } finally {
    await model.tensors.close();
  }
}

/** Describes layers that have been found in a model already, on disk or on the Hub. */
export async function describe(
  { layers, embeddings }: ModelLayers,
  { path, sigma, sizes, choices = {} }: DescribeOptions,
): Promise<Described> {
  const found = await inspectedLayers(layers, sigma);
  const layouts = new Map(
    layers.flatMap(({ name }, i) => (found[i]?.blocks ? [[name, found[i].blocks.layout] as const] : [])),
  );
  const described = layers.map((layer, i) => describeLayer(layer, found[i] as Inspected, choices));
  const structured = described.filter(({ structure }) => !isDense(structure));
  const totals = { structured: totalOf(structured), all: totalOf(described) };
  const timed = new Set(layers.flatMap((layer, i) => (isTimed(layer, found[i] as Inspected) ? [layer.name] : [])));
  const inspection = { model: path, layers: described, totals, embeddings, ...(sizes && { sizes }) };
  return { inspection, layouts, timed };
}

async function inspectedLayers(layers: readonly StoredLayer[], sigma: number | undefined): Promise<Inspected[]> {
  const found: Inspected[] = [];
  await eachOf([...layers.entries()], { connections: CONNECTIONS }, async ([i, layer]) => {
    found[i] = await inspected(layer, sigma);
  });
  return found;
}

/** Cost and blocks of a layer, computed by its structure. Default: one multiply-add per stored value. */
async function inspected(layer: StoredLayer, sigma: number | undefined): Promise<Inspected> {
  const found = await structureNamed(layer.structure).inspect?.(layer, { sigma });
  const size = (shape: readonly number[]) => shape.reduce((product, side) => product * side, 1);
  return found ?? { cost: sum(Object.values(layer.shapes).map(size)) };
}

/** Whether the forms of a layer are timed, see structures/inference/choice.ts. */
const isTimed = ({ nIn, nOut, kernel }: StoredLayer, { forms }: Inspected): boolean =>
  forms !== undefined && kernel === undefined && nIn * nOut >= LEAST_ENTRIES;

function describeLayer(layer: StoredLayer, found: Inspected, choices: MeasuredForms): InspectedLayer {
  const { name, structure, nIn, nOut } = layer;
  const { cost, blocks, forms: costs = [] } = found;
  const forms = isTimed(layer, found) ? knownForms(choices, { nIn, nOut, costs }) : [];
  return {
    ...{ name, structure, nIn, nOut, ...costOf(cost, { nIn, nOut }) },
    ...(blocks && { blocks: summarizeBlocks(blocks.layout, blocks) }),
    ...(forms.length > 0 && { forms }),
  };
}

function totalOf(layers: readonly InspectedLayer[]): Total {
  const [cost, dense] = [sum(layers.map((layer) => layer.cost)), sum(layers.map(({ nIn, nOut }) => nIn * nOut))];
  return { layers: layers.length, cost, dense, share: dense > 0 ? cost / dense : 0 };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
