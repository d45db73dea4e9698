// How the layers of a model lie in its files: a GBLR layer packed for inference and whole for training, every other as
// it is. Gives tensors to write, and what config.json says of each layer.

import type { Variable } from "@tensorflow/tfjs-core";
import type { TensorSource } from "../../hub/safetensors/index.ts";
import { pack } from "../gblr/packed.ts";
import type { GblrStructure } from "../structures/gblr.ts";
import type { LinearLayer, Model } from "./model.ts";
import type { PackedStructure } from "./packed-structure.ts";

/** What config.json has under `gblr.layers`. */
export interface StoredLayerConfig {
  structure: string;
  n_in: number;
  n_out: number;
  /** GBLR: rank-1 blocks, live or not */
  blocks?: number;
  /** of its tensors in model.safetensors, the bias left out */
  shapes: Record<string, readonly number[]>;
}

export interface StoredTensors {
  model: TensorSource[];
  /** of GBLR layers only, and only of those that can be trained */
  trainable: TensorSource[];
  /** by the names in the files, dense ones left out */
  layers: Record<string, StoredLayerConfig>;
}

/** Packs what is to be packed; all else is read when it is written. */
export async function storedTensors(model: Model): Promise<StoredTensors> {
  const storedName = (name: string) => model.architecture.storedName(name, model.prefix);
  const found: StoredTensors = { model: [], trainable: [], layers: {} };
  const owners = ownersOf(model);
  for (const [name, variable] of model.parameters) {
    const layer = owners.get(name);
    if (!layer || layer.structure.name === "dense") {
      found.model.push(await denseSource(model, { name, stored: storedName(name), variable }));
      continue;
    }
    const stored = storedName(layer.name);
    if (layer.structure.name === "gblr") found.trainable.push(sourceOf(storedName(name), variable));
    else found.model.push(sourceOf(storedName(name), variable));
    if (name !== `${layer.name}.${layer.structure.parameterNames[0]}`) continue;
    if (layer.structure.name === "gblr") {
      const packed = await packedSources(model, layer, stored);
      found.model.push(...packed.sources);
      found.trainable.push(sigmaSource(stored, model.masks.sigma));
      found.layers[stored] = packed.config;
    } else found.layers[stored] = configOf(model, layer);
  }
  return found;
}

/** The layer that a parameter is the matrix of, or a part of it. Biases are nobody's. */
function ownersOf(model: Model): Map<string, LinearLayer> {
  const owners = new Map<string, LinearLayer>();
  for (const layer of model.layers.values()) {
    for (const parameter of layer.structure.parameterNames) owners.set(`${layer.name}.${parameter}`, layer);
  }
  return owners;
}

function sourceOf(name: string, variable: Variable): TensorSource {
  const dtype = variable.dtype === "int32" ? "I32" : "F32";
  return { name, dtype, shape: variable.shape, data: () => bytesOf(variable) };
}

async function* bytesOf(variable: Variable): AsyncGenerator<Uint8Array> {
  const { buffer, byteOffset, byteLength } = await variable.data();
  yield new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** A matrix that was turned in memory is turned back: files have it as the architecture says. */
async function denseSource(
  { layers, architecture, config }: Model,
  { name, stored, variable }: { name: string; stored: string; variable: Variable },
): Promise<TensorSource> {
  const layer = layers.get(name.replace(/\.weight$/, ""));
  if (!layer || !name.endsWith(".weight")) return sourceOf(stored, variable);
  const layout = architecture.layers(config).find((known) => known.name === layer.name)?.layout ?? layer.layout;
  if (layout === layer.layout) return sourceOf(stored, variable);
  const [rows, columns] = variable.shape as [number, number];
  return { name: stored, dtype: "F32", shape: [columns, rows], data: () => turnedBytes(variable) };
}

async function* turnedBytes(variable: Variable): AsyncGenerator<Uint8Array> {
  const turned = variable.transpose();
  try {
    const { buffer, byteOffset, byteLength } = await turned.data();
    yield new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  } finally {
    turned.dispose();
  }
}

/** One number, as the reference's buffer: infinite where the masks have no Gaussian, which its formula then drops. */
function sigmaSource(layer: string, sigma = Number.POSITIVE_INFINITY): TensorSource {
  return { name: `${layer}.sigma`, dtype: "F32", shape: [], data: Float32Array.of(sigma) };
}

function configOf(model: Model, { name, structure, nIn, nOut }: LinearLayer): StoredLayerConfig {
  const parameters = Object.entries(model.structureParameters(name));
  const shapes = Object.fromEntries(parameters.map(([parameter, { shape }]) => [parameter, shape]));
  if (structure.name !== "packed") return { structure: structure.name, n_in: nIn, n_out: nOut, shapes };
  return { structure: "gblr", n_in: nIn, n_out: nOut, blocks: (structure as PackedStructure).blocks, shapes };
}

async function packedSources(
  model: Model,
  { name, structure, nIn, nOut }: LinearLayer,
  stored: string,
): Promise<{ sources: TensorSource[]; config: StoredLayerConfig }> {
  const matrix = (structure as GblrStructure).matrix(model.structureParameters(name));
  const { spans, values_in, values_out } = await pack(matrix);
  const sources: TensorSource[] = [];
  const shapes: StoredLayerConfig["shapes"] = {};
  for (const [part, tensor] of Object.entries({ spans, values_in, values_out })) {
    const data = (await tensor.data()) as Float32Array | Int32Array;
    sources.push({
      name: `${stored}.${part}`,
      dtype: part === "spans" ? "I32" : "F32",
      shape: tensor.shape,
      data,
    } as TensorSource);
    shapes[part] = tensor.shape;
    tensor.dispose();
  }
  const blocks = matrix.blocks * matrix.rank;
  return { sources, config: { structure: "gblr", n_in: nIn, n_out: nOut, blocks, shapes } };
}
