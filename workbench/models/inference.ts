// The form of a model that runs fastest: every GBLR layer as what it is in evaluation, without the blocks that are dead
// there, as one matrix or as thin factors or packed. Other structures and dense layers stay as they are.
//
// Measured with 768 × 3072 at 44 % of the dense multiply-adds, libtorch on two cores: from 16 rows on, both the one
// matrix and the factors take time by their multiply-adds, and the packed product, whose stretches are short, takes twice
// the matrix's; at 1 to 4 rows, where memory is what takes time, it takes a third. Only the addon has an operator for
// it: composed of others, as on wasm, it takes half a second.

import {
  gather,
  getBackend,
  type Tensor,
  type Tensor2D,
  tensor1d,
  tidy,
  transpose,
  type Variable,
} from "@tensorflow/tfjs-core";
import type { ConvolutionInfo } from "../architectures/network.ts";
import { GblrMatrix } from "../gblr/matrix.ts";
import { type PackedGblr, pack, unpack } from "../gblr/packed.ts";
import { dense } from "../structures/dense.ts";
import type { GblrStructure } from "../structures/gblr.ts";
import { lowrank } from "../structures/lowrank.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import { kernelOf, kernelOfPositions } from "./convolution.ts";
import { type LinearLayer, Model } from "./model.ts";
import { type PackedStructure, packedStructure } from "./packed-structure.ts";
import { replaceEntries, rowByRow, variableOf } from "./variables.ts";

export interface InferenceOptions {
  /** of x in most products: `many` as in evaluation, `few` as in generating token by token. Default `many` */
  rows?: "many" | "few";
}

interface Held {
  structure: Structure;
  parameters: StructureParameters;
}

/**
 * A view of the model for inference. Parameters of layers that stay as they are are the model's own, which must outlive
 * it; dispose of the view for the others. What is learned afterwards in a GBLR layer is not seen.
 */
export async function forInference<Config>(
  model: Model<Config>,
  { rows = "many" }: InferenceOptions = {},
): Promise<Model<Config>> {
  const parameters = new Map<string, Variable>(model.parameters);
  const layers = new Map<string, LinearLayer>(model.layers);
  const own = new Map<string, Variable>();
  try {
    for (const layer of model.layers.values()) {
      if (layer.position && layer.position.index > 0) continue;
      const replaced = layer.position ? model.positionsOf(layer.position.of) : [layer];
      const held = layer.position ? joinedForm(model, replaced) : await inferenceForm(model, layer, rows);
      if (!held) continue;
      const { layer: info, parameters: added } = held;
      const taken = info.structure.parameterNames.map((part) => {
        const variable = variableOf(added[part] as Tensor, { trainable: false });
        return [`${info.name}.${part}`, variable] as const;
      });
      for (const [name, variable] of taken) own.set(name, variable);
      replaceEntries(parameters, replaced.flatMap(parameterNames), taken);
      const names = replaced.map(({ name }) => name);
      replaceEntries<LinearLayer>(layers, names, [[info.name, info]]);
    }
  } catch (error) {
    for (const variable of own.values()) variable.dispose();
    throw error;
  }
  const borrowed = [...parameters.keys()].filter((name) => !own.has(name));
  const { architecture, config, json, prefix, preprocessor } = model;
  return new Model({
    architecture,
    config,
    json,
    parameters,
    layers,
    prefix,
    preprocessor,
    borrowed,
    masks: { ...model.masks, mode: "eval" },
  });
}

const parameterNames = ({ name, structure }: LinearLayer): string[] =>
  structure.parameterNames.map((part) => `${name}.${part}`);

const isGblr = (structure: Structure): structure is GblrStructure => structure.name === "gblr";
const isPacked = (structure: Structure): structure is PackedStructure => structure.name === "packed";

/** A layer of the view and its parameters. */
interface InferenceLayer {
  layer: LinearLayer;
  parameters: StructureParameters;
}

/** undefined: as it is */
async function inferenceForm<Config>(
  model: Model<Config>,
  layer: LinearLayer,
  rows: "many" | "few",
): Promise<InferenceLayer | undefined> {
  const { structure, convolution, name, nIn, nOut } = layer;
  if (!isGblr(structure) && !isPacked(structure)) return undefined;
  const parameters = model.structureParameters(name);
  // A convolution has a row for each position of its images.
  const packs = rows === "few" && !convolution && getBackend() === "torch";
  if (packs && isPacked(structure)) return undefined;
  if (packs && isGblr(structure)) {
    const matrix = evaluated(model, structure, parameters);
    const { spans, values_in, values_out } = await pack(matrix);
    const packed = packedStructure({ nIn, nOut, blocks: matrix.blocks * matrix.rank });
    return { layer: { ...layer, structure: packed, layout: "out_in" }, parameters: { spans, values_in, values_out } };
  }
  const held = isPacked(structure)
    ? fastest(unpacked(structure.packed(parameters)))
    : await liveRanks(evaluated(model, structure, parameters)).then(fastest);
  if (held.structure !== dense || !convolution) {
    return { layer: { ...layer, structure: held.structure, layout: "out_in" }, parameters: held.parameters };
  }
  return { layer: { ...layer, structure: dense }, parameters: { weight: kernelTaken(held.parameters, convolution) } };
}

const evaluated = <Config>(model: Model<Config>, structure: GblrStructure, parameters: StructureParameters) =>
  new GblrMatrix(structure.matrix(parameters).parameters, { ...model.masks, mode: "eval" });

/** As a kernel; the matrix is disposed. */
function kernelTaken({ weight }: StructureParameters, convolution: ConvolutionInfo): Tensor {
  const kernel = rowByRow(kernelOf(weight as Tensor2D, convolution));
  weight?.dispose();
  return kernel;
}

/** The positions of a convolution as the one kernel that they make. */
function joinedForm<Config>(model: Model<Config>, positions: readonly LinearLayer[]): InferenceLayer {
  const [{ position, nIn, nOut, rows }] = positions as readonly [LinearLayer];
  const { of: name, convolution } = position as NonNullable<LinearLayer["position"]>;
  const kernel = tidy(() => {
    const matrices = positions.map(({ name: own, structure }) => {
      const parameters = model.structureParameters(own);
      return (isGblr(structure) ? evaluated(model, structure, parameters) : structure).dense(parameters);
    });
    return kernelOfPositions(matrices, convolution);
  });
  const sizes = { nIn: positions.length * nIn, nOut, rows };
  const layer = { name, ...sizes, layout: "in_out", convolution, structure: dense } as const;
  return { layer, parameters: { weight: rowByRow(kernel) } };
}

/** Positions of the rows of `factors` that evaluation keeps. */
async function liveRanks(matrix: GblrMatrix): Promise<{ matrix: GblrMatrix; live: number[] }> {
  const use = await matrix.use();
  const ranks = (k: number) => Array.from({ length: matrix.rank }, (_, i) => k * matrix.rank + i);
  return { matrix, live: use.live.flatMap((kept, k) => (kept ? ranks(k) : [])) };
}

function unpacked(packed: PackedGblr): { matrix: GblrMatrix; live: number[]; temporary: boolean } {
  const matrix = unpack(packed);
  return { matrix, live: Array.from({ length: matrix.blocks }, (_, k) => k), temporary: true };
}

function fastest({
  matrix,
  live,
  temporary = false,
}: {
  matrix: GblrMatrix;
  live: number[];
  temporary?: boolean;
}): Held {
  const { nIn, nOut } = matrix;
  try {
    if (live.length * (nIn + nOut) >= nIn * nOut) {
      return { structure: dense, parameters: { weight: matrix.dense() } };
    }
    return {
      structure: lowrank,
      parameters: tidy(() => {
        const { input, output } = matrix.factors();
        const kept = (rows: Tensor2D) => gather(rows, tensor1d(live, "int32"));
        return { left: transpose(kept(output)), right: kept(input) };
      }),
    };
  } finally {
    if (temporary) for (const tensor of Object.values(matrix.parameters) as Tensor[]) tensor.dispose();
  }
}
