// The tensors of a model in its files, and the settings of its layers in config.json. Layers whose structure has a
// packed form are written packed and trainable, all other layers as they are.

import { transpose, type Variable } from "@tensorflow/tfjs-core";
import type { TensorSource } from "../../../hub/safetensors/index.ts";
import { layersOf, namesOf, parametersOf } from "../../architectures/architecture.ts";
import type { HeldMatrix } from "../../structures/structure.ts";
import type { LinearLayer, Model } from "../model.ts";

/** Settings of a layer in config.json, under `gblr.layers`. */
export interface StoredLayerConfig {
  structure: string;
  n_in: number;
  n_out: number;
  /** GBLR: number of rank-1 blocks, including dead ones */
  blocks?: number;
  /** convolutions: rows and columns; n_in is rows · columns · channels, in this order */
  kernel?: readonly [number, number];
  /** stride of convolutions */
  stride?: number;
  /** shapes of its tensors in model.safetensors, without the bias */
  shapes: Record<string, readonly number[]>;
}

/** The tensors of a model's files, and the settings of its layers. */
export interface StoredTensors {
  model: TensorSource[];
  /** trainable form of GBLR layers */
  trainable: TensorSource[];
  /** settings by the names in files, without dense layers */
  layers: Record<string, StoredLayerConfig>;
}

/** The tensors to write. Packed forms are computed here; other tensors are read when they are written. */
export async function storedTensors(model: Model): Promise<StoredTensors> {
  const storedName = (name: string) => namesOf(model.architecture).storedName(name, model.prefix);
  const found: StoredTensors = { model: [], trainable: [], layers: {} };
  const owners = ownersOf(model);
  const infos = parametersOf(model.architecture, model.config);
  const joined = joinedSources(model);
  for (const [name, variable] of model.parameters) {
    const layer = owners.get(name);
    if (!layer || layer.structure.isDense) {
      const stored = storedName(name);
      const source =
        joined.get(name) ?? denseSource(model, { name, stored, variable, kernel: infos.get(name)?.kernel });
      if (source !== "elsewhere") found.model.push(source);
      continue;
    }
    const { structure } = layer;
    (structure.pack ? found.trainable : found.model).push(sourceOf(storedName(name), variable));
    if (name !== `${layer.name}.${structure.parameterNames[0]}`) continue;
    const stored = storedName(layer.name);
    const parameters = model.structureParameters(layer.name);
    const packed = await structure.pack?.(parameters);
    if (packed) found.model.push(...(await packedSources(stored, packed)));
    for (const [part, value] of Object.entries(structure.scalars?.() ?? {})) {
      found.trainable.push({ name: `${stored}.${part}`, dtype: "F32", shape: [], data: Float32Array.of(value) });
    }
    found.layers[stored] = configOf(layer, packed ?? { structure, parameters });
  }
  return found;
}

/**
 * Sources of tensors that contain several parameters in checkpoints, if all of their layers are dense. The tensor
 * replaces its first parameter; the other parameters are marked `elsewhere`.
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
    if (owners.some((layer) => !layer?.structure.isDense)) continue;
    const variables = names.map((name) => parameters.get(name) as Variable);
    const [count, ...rest] = (variables[0] as Variable).shape;
    const rows = variables.reduce((sum, { shape: [own] }) => sum + (own as number), 0);
    const shape = count === undefined ? [] : [rows, ...rest];
    found.set(names[0] as string, { name: stored, dtype: "F32", shape, data: () => bytesOf(...variables) });
    for (const name of names.slice(1)) found.set(name, "elsewhere");
  }
  return found;
}

/** The layer of each parameter of a matrix. Biases are not included. */
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

/** A dense parameter, transposed back if its layout in memory differs: kernels, and matrices changed for inference. */
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

const geometryOf = ({ convolution }: LinearLayer) =>
  convolution ? { kernel: convolution.kernel, stride: convolution.stride } : {};

function configOf(layer: LinearLayer, { structure, parameters }: HeldMatrix): StoredLayerConfig {
  const { nIn, nOut } = layer;
  const { stored, blocks } = structure;
  const shapes = Object.fromEntries(Object.entries(parameters).map(([part, { shape }]) => [part, shape]));
  const sizes = { n_in: nIn, n_out: nOut, ...(blocks !== undefined && { blocks }), ...geometryOf(layer) };
  return { structure: stored.name, ...sizes, shapes };
}

/** Reads packed tensors and disposes of them. */
async function packedSources(stored: string, { parameters }: HeldMatrix): Promise<TensorSource[]> {
  const sources: TensorSource[] = [];
  for (const [part, tensor] of Object.entries(parameters)) {
    const dtype = tensor.dtype === "int32" ? "I32" : "F32";
    const data = (await tensor.data()) as Float32Array | Int32Array;
    sources.push({ name: `${stored}.${part}`, dtype, shape: tensor.shape, data } as TensorSource);
    tensor.dispose();
  }
  return sources;
}
