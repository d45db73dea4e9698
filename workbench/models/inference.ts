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
import { GblrMatrix } from "../gblr/matrix.ts";
import { type PackedGblr, pack, unpack } from "../gblr/packed.ts";
import { dense } from "../structures/dense.ts";
import type { GblrStructure } from "../structures/gblr.ts";
import { lowrank } from "../structures/lowrank.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import { type LinearLayer, Model } from "./model.ts";
import { type PackedStructure, packedStructure } from "./packed-structure.ts";
import { variableOf } from "./variables.ts";

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
    for (const [name, layer] of model.layers) {
      const { structure } = layer;
      if (!isGblr(structure) && !isPacked(structure)) continue;
      const held = await inferenceForm(structure, model.structureParameters(name), { rows, masks: model.masks });
      if (!held) continue;
      for (const parameter of structure.parameterNames) parameters.delete(`${name}.${parameter}`);
      for (const parameter of held.structure.parameterNames) {
        const variable = variableOf(held.parameters[parameter] as Tensor, { trainable: false });
        own.set(`${name}.${parameter}`, variable);
        parameters.set(`${name}.${parameter}`, variable);
      }
      layers.set(name, { ...layer, structure: held.structure, layout: "out_in" });
    }
  } catch (error) {
    for (const variable of own.values()) variable.dispose();
    throw error;
  }
  const borrowed = [...parameters.keys()].filter((name) => !own.has(name));
  const { architecture, config, json, prefix } = model;
  return new Model({
    architecture,
    config,
    json,
    parameters,
    layers,
    prefix,
    borrowed,
    masks: { ...model.masks, mode: "eval" },
  });
}

const isGblr = (structure: Structure): structure is GblrStructure => structure.name === "gblr";
const isPacked = (structure: Structure): structure is PackedStructure => structure.name === "packed";

/** undefined: as it is */
async function inferenceForm(
  structure: GblrStructure | PackedStructure,
  parameters: StructureParameters,
  { rows, masks }: { rows: "many" | "few"; masks: Model["masks"] },
): Promise<Held | undefined> {
  const packs = rows === "few" && getBackend() === "torch";
  if (isPacked(structure)) return packs ? undefined : fastest(unpacked(structure.packed(parameters)));
  const matrix = new GblrMatrix(structure.matrix(parameters).parameters, { ...masks, mode: "eval" });
  if (!packs) return fastest({ matrix, live: await liveRanks(matrix) });
  const { spans, values_in, values_out, nIn, nOut } = await pack(matrix);
  return {
    structure: packedStructure({ nIn, nOut, blocks: matrix.blocks * matrix.rank }),
    parameters: { spans, values_in, values_out },
  };
}

/** Positions of the rows of `factors` that evaluation keeps. */
async function liveRanks(matrix: GblrMatrix): Promise<number[]> {
  const { live } = await matrix.use();
  return live.flatMap((kept, k) => (kept ? Array.from({ length: matrix.rank }, (_, i) => k * matrix.rank + i) : []));
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
