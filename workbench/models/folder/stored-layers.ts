// How the layers of a model lie in its files: a GBLR layer packed for inference and whole for training, every other as
// it is. Gives tensors to write, and what config.json says of each layer.

import { transpose, type Variable } from "@tensorflow/tfjs-core";
import type { TensorSource } from "../../../hub/safetensors/index.ts";
import { layersOf, namesOf, parametersOf } from "../../architectures/architecture.ts";
import { pack } from "../../gblr/packed.ts";
import type { GblrStructure } from "../../structures/gblr.ts";
import type { LinearLayer, Model } from "../model.ts";
import type { PackedStructure } from "../packed-structure.ts";

/** What config.json has under `gblr.layers`. */
export interface StoredLayerConfig {
  structure: string;
  n_in: number;
  n_out: number;
  /** GBLR: rank-1 blocks, live or not */
  blocks?: number;
  /** convolutions: rows and columns; n_in is rows · columns · channels, in this order */
  kernel?: readonly [number, number];
  /** convolutions */
  stride?: number;
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
  const storedName = (name: string) => namesOf(model.architecture).storedName(name, model.prefix);
  const found: StoredTensors = { model: [], trainable: [], layers: {} };
  const owners = ownersOf(model);
  const infos = parametersOf(model.architecture, model.config);
  const joined = joinedSources(model);
  for (const [name, variable] of model.parameters) {
    const layer = owners.get(name);
    if (!layer || layer.structure.name === "dense") {
      const stored = storedName(name);
      const source =
        joined.get(name) ?? denseSource(model, { name, stored, variable, kernel: infos.get(name)?.kernel });
      if (source !== "elsewhere") found.model.push(source);
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

/**
 * What checkpoints have in one tensor, where all layers of it are dense: the tensor in the place of its first parameter,
 * the others elsewhere.
 */
function joinedSources({
  architecture,
  config,
  prefix,
  parameters,
  layers,
}: Model): Map<string, TensorSource | "elsewhere"> {
  const found = new Map<string, TensorSource | "elsewhere">();
  for (const [stored, names] of namesOf(architecture).joined?.(config, prefix) ?? []) {
    const owners = names.map((name) => layers.get(name.replace(/\.\w+$/, "")));
    if (owners.some((layer) => layer?.structure.name !== "dense")) continue;
    const variables = names.map((name) => parameters.get(name) as Variable);
    const [count, ...rest] = (variables[0] as Variable).shape;
    const rows = variables.reduce((sum, { shape: [own] }) => sum + (own as number), 0);
    const shape = count === undefined ? [] : [rows, ...rest];
    found.set(names[0] as string, { name: stored, dtype: "F32", shape, data: () => bytesOf(...variables) });
    for (const name of names.slice(1)) found.set(name, "elsewhere");
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

async function* bytesOf(...variables: Variable[]): AsyncGenerator<Uint8Array> {
  for (const variable of variables) {
    const { buffer, byteOffset, byteLength } = await variable.data();
    yield new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  }
}

interface DenseParameter {
  name: string;
  stored: string;
  variable: Variable;
  /** see ParameterInfo */
  kernel: boolean | undefined;
}

/** What lies otherwise in memory is turned back: kernels, and matrices that inference turned. */
function denseSource(model: Model, { name, stored, variable, kernel }: DenseParameter): TensorSource {
  if (kernel) return turnedSource(stored, variable, [3, 2, 0, 1]);
  const { layers, architecture, config } = model;
  const layer = name.endsWith(".weight") ? layers.get(name.replace(/\.weight$/, "")) : undefined;
  if (!layer) return sourceOf(stored, variable);
  const layout = layersOf(architecture, config).find((known) => known.name === layer.name)?.layout ?? layer.layout;
  return layout === layer.layout ? sourceOf(stored, variable) : turnedSource(stored, variable, [1, 0]);
}

function turnedSource(name: string, variable: Variable, axes: number[]): TensorSource {
  const shape = axes.map((axis) => variable.shape[axis] as number);
  return { name, dtype: "F32", shape, data: () => turnedBytes(variable, axes) };
}

async function* turnedBytes(variable: Variable, axes: number[]): AsyncGenerator<Uint8Array> {
  const turned = transpose(variable, axes);
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

const geometryOf = ({ convolution }: LinearLayer) =>
  convolution ? { kernel: convolution.kernel, stride: convolution.stride } : {};

function configOf(model: Model, layer: LinearLayer): StoredLayerConfig {
  const { name, structure, nIn, nOut } = layer;
  const sizes = { n_in: nIn, n_out: nOut, ...geometryOf(layer) };
  const parameters = Object.entries(model.structureParameters(name));
  const shapes = Object.fromEntries(parameters.map(([parameter, { shape }]) => [parameter, shape]));
  if (structure.name !== "packed") return { structure: structure.name, ...sizes, shapes };
  return { structure: "gblr", ...sizes, blocks: (structure as PackedStructure).blocks, shapes };
}

async function packedSources(
  model: Model,
  layer: LinearLayer,
  stored: string,
): Promise<{ sources: TensorSource[]; config: StoredLayerConfig }> {
  const { name, structure, nIn, nOut } = layer;
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
  return { sources, config: { structure: "gblr", n_in: nIn, n_out: nOut, blocks, ...geometryOf(layer), shapes } };
}
