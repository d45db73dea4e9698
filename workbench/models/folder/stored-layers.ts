// The tensors of a model in its files, and the settings of its layers in config.json. Layers whose structure has a
// packed form are written packed and trainable, all other layers as they are.

import type { Variable } from "@tensorflow/tfjs-core";
import type { TensorSource } from "../../../hub/safetensors/index.ts";
import { layersOf, namesOf, parametersOf } from "../../architectures/architecture.ts";
import type { HeldMatrix } from "../../structures/structure.ts";
import type { LinearLayer, Model } from "../model.ts";
import { bytesOf, sourceOf, turnedSource } from "./tensor-sources.ts";

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

/**
 * The tensors to write, most of which are read when they are written. Packed forms are computed here, because their
 * shapes depend on the widths of blocks.
 */
export async function storedTensors(
  model: Model,
  { packedBytes = MOST_PACKED_BYTES }: { packedBytes?: number | undefined } = {},
): Promise<StoredTensors> {
  const storedName = (name: string) => namesOf(model.architecture).storedName(name, model.prefix);
  const found: StoredTensors = { model: [], trainable: [], layers: {} };
  const owners = ownersOf(model);
  const infos = parametersOf(model.architecture, model.config);
  const joined = joinedSources(model);
  const packedForms = new PackedForms(packedBytes);
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
    const { pack } = structure;
    const packed = pack && (await packedForms.add(stored, () => pack(parameters)));
    if (packed) found.model.push(...packed.sources);
    for (const [part, value] of Object.entries(structure.scalars?.() ?? {})) {
      found.trainable.push({ name: `${stored}.${part}`, dtype: "F32", shape: [], data: Float32Array.of(value) });
    }
    found.layers[stored] = configOf(layer, packed?.form ?? { structure, parameters });
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

const geometryOf = ({ convolution }: LinearLayer) =>
  convolution ? { kernel: convolution.kernel, stride: convolution.stride } : {};

function configOf(layer: LinearLayer, { structure, parameters }: HeldMatrix): StoredLayerConfig {
  const { nIn, nOut } = layer;
  const { stored, blocks } = structure;
  const shapes = Object.fromEntries(Object.entries(parameters).map(([part, { shape }]) => [part, shape]));
  const sizes = { n_in: nIn, n_out: nOut, ...(blocks !== undefined && { blocks }), ...geometryOf(layer) };
  return { structure: stored.name, ...sizes, shapes };
}

/** Most bytes of packed forms that are kept in memory until they are written. */
const MOST_PACKED_BYTES = 5e8;

type Packed = Record<string, Float32Array | Int32Array>;

/** Packed forms of layers. Those beyond the limit are computed once more when they are written, layer by layer. */
class PackedForms {
  private readonly most: number;
  private bytes = 0;
  private latest: { stored: string; values: Packed } | undefined;

  constructor(most: number) {
    this.most = most;
  }

  /** Packs a layer. @returns its form, without values, and the sources of its tensors */
  async add(stored: string, pack: () => Promise<HeldMatrix>): Promise<{ form: HeldMatrix; sources: TensorSource[] }> {
    const form = await pack();
    const parts = Object.entries(form.parameters);
    const bytes = parts.reduce((sum, [, { size }]) => sum + size * Float32Array.BYTES_PER_ELEMENT, 0);
    const isKept = this.bytes + bytes <= this.most;
    if (isKept) this.bytes += bytes;
    const kept = isKept ? await valuesOf(form) : undefined;
    const read = async (part: string) => kept?.[part] ?? (await this.again(stored, pack))[part];
    const sources = parts.map(([part, { dtype, shape }]): TensorSource => {
      const data = async function* () {
        const { buffer, byteOffset, byteLength } = (await read(part)) as Float32Array;
        yield new Uint8Array(buffer, byteOffset, byteLength);
      };
      return { name: `${stored}.${part}`, dtype: dtype === "int32" ? "I32" : "F32", shape, data };
    });
    for (const [, tensor] of parts) tensor.dispose();
    return { form, sources };
  }

  /** The values of a layer. The tensors of one layer are written one after the other, so the latest layer is kept. */
  private async again(stored: string, pack: () => Promise<HeldMatrix>): Promise<Packed> {
    if (this.latest?.stored !== stored) {
      this.latest = undefined;
      const form = await pack();
      this.latest = { stored, values: await valuesOf(form) };
      for (const tensor of Object.values(form.parameters)) tensor.dispose();
    }
    return this.latest.values;
  }
}

async function valuesOf({ parameters }: HeldMatrix): Promise<Packed> {
  const values: Packed = {};
  for (const [part, tensor] of Object.entries(parameters)) values[part] = (await tensor.data()) as Packed[string];
  return values;
}
