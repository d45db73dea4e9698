// A model in memory: its config, its parameters by checkpoint name, and the structure of each linear layer and
// convolution. Forward passes apply layers by name and do not depend on their structure.

import { add, type Tensor, type Tensor4D, tidy, type Variable } from "@tensorflow/tfjs-core";
import { type Architecture, namesOf } from "../architectures/architecture.ts";
import type { ConvolutionInfo, LayerInfo } from "../architectures/network.ts";
import type { ApplyOptions, LayerSource } from "../architectures/task.ts";
import { EngineError } from "../engine/core/errors.ts";
import { gelu, linear } from "../engine/ops/index.ts";
import type { MaskSettings } from "../gblr/mask.ts";
import { convolve, inputsOfPositions, kernelOfPositions, patchesUnder } from "../structures/convolution.ts";
import { dense } from "../structures/dense.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";

/** A linear layer and its structure. */
export interface LinearLayer extends LayerInfo {
  structure: Structure;
}

/** The parts of a model, for its constructor. */
export interface ModelParts<Config> {
  architecture: Architecture<Config>;
  config: Config;
  /** content of config.json, including fields that are not used here */
  json: Readonly<Record<string, unknown>>;
  parameters: Map<string, Variable>;
  layers: Map<string, LinearLayer>;
  masks?: MaskSettings;
  prefix?: string;
  /** content of preprocessor_config.json, if there is one */
  preprocessor?: Readonly<Record<string, unknown>> | undefined;
  /** names of parameters that belong to another model, which disposes of them. Default none */
  borrowed?: Iterable<string>;
}

/**
 * A model, which owns its parameters. A dense layer X has the parameters `X.weight`, in the layout of the checkpoint,
 * and `X.bias`; a structured layer `X.<parameter of the structure>` and `X.bias`.
 */
export class Model<Config = unknown> implements LayerSource<Config> {
  readonly architecture: Architecture<Config>;
  readonly config: Config;
  /** content of config.json; a cut to one size replaces it */
  json: Readonly<Record<string, unknown>>;
  readonly parameters: Map<string, Variable>;
  readonly layers: Map<string, LinearLayer>;
  /** mask settings of all GBLR layers, read at each product; schedules change them in place */
  readonly masks: MaskSettings;
  /** prefix of its names in checkpoints, see TensorNames.prefixes */
  readonly prefix: string;
  /** content of Hugging Face's preprocessor_config.json, if there is one */
  readonly preprocessor: Readonly<Record<string, unknown>> | undefined;
  /** called with the input of each layer; it must `keep` tensors that it stores */
  observer: ((layer: string, x: Tensor) => void) | undefined;
  private readonly borrowed: ReadonlySet<string>;

  constructor({
    architecture,
    config,
    json,
    parameters,
    layers,
    masks = {},
    prefix,
    preprocessor,
    borrowed = [],
  }: ModelParts<Config>) {
    this.architecture = architecture;
    this.config = config;
    this.json = json;
    this.parameters = parameters;
    this.layers = layers;
    this.masks = masks;
    this.borrowed = new Set(borrowed);
    this.preprocessor = preprocessor;
    this.prefix = prefix ?? namesOf(architecture).prefixes[0] ?? "";
  }

  /** @throws EngineError when the model has no such parameter */
  parameter(name: string): Variable {
    const found = this.parameters.get(name);
    if (!found) throw new EngineError(`the model has no parameter "${name}"`, "check the checkpoint's names");
    return found;
  }

  /** @throws EngineError when the model has no such layer */
  layer(name: string): LinearLayer {
    const found = this.layers.get(name);
    if (!found) throw new EngineError(`the model has no layer "${name}"`, "check the checkpoint's names");
    return found;
  }

  /** Whether there is a layer of this name, whole or split into positions. */
  hasLayer(name: string): boolean {
    return this.layers.has(name) || this.layers.has(`${name}.0`);
  }

  /** The layers of a convolution that is split into positions, in order; empty if it is whole. */
  positionsOf(name: string): LinearLayer[] {
    const count = this.layers.get(`${name}.0`)?.position?.convolution.kernel.reduce((rows, columns) => rows * columns);
    return Array.from({ length: count ?? 0 }, (_, index) => this.layer(`${name}.${index}`));
  }

  /** The parameters of a layer by their names in the structure, without the bias. */
  structureParameters(name: string): StructureParameters {
    const names = this.layer(name).structure.parameterNames;
    return Object.fromEntries(names.map((parameter) => [parameter, this.parameter(`${name}.${parameter}`)]));
  }

  /**
   * Applies a linear layer: activation(x Wᵀ + b).
   * @param x float32 (…, n_in)
   * @returns float32 (…, n_out)
   * @throws EngineError if the model has no such layer
   */
  linear(name: string, x: Tensor, { activation = "none" }: ApplyOptions = {}): Tensor {
    const { structure, layout } = this.layer(name);
    this.observer?.(name, x);
    const bias = this.parameters.get(`${name}.bias`);
    if (structure.isDense) {
      return linear(x, this.parameter(`${name}.weight`), bias, { activation, layout });
    }
    return tidy(() => {
      const product = structure.apply(this.structureParameters(name), x);
      const affine = bias === undefined ? product : add(product, bias);
      return activation === "none"
        ? affine
        : gelu(affine, { approximate: activation === "gelu_tanh" ? "tanh" : "none" });
    });
  }

  /**
   * The convolution of x with the layer's kernel, plus its bias.
   * @param x float32 (batch, height, width, channels)
   * @returns float32 (batch, height', width', n_out)
   * @throws EngineError when the layer is not a convolution
   */
  convolution(name: string, x: Tensor4D): Tensor4D {
    const positions = this.positionsOf(name);
    const layer = positions[0] ?? this.layer(name);
    const geometry = layer.position?.convolution ?? layer.convolution;
    if (!geometry) throw new EngineError(`${name} is a linear layer`, "apply it with linear");
    if (this.observer) this.observe({ name, x, geometry, positions });
    const bias = this.parameters.get(`${name}.bias`);
    return tidy(() => {
      const parameters = positions.length === 0 ? this.structureParameters(name) : { weight: this.kernel(positions) };
      const structure = positions.length === 0 ? layer.structure : dense;
      const product = convolve(x, { structure, parameters }, geometry);
      return bias === undefined ? product : add(product, bias);
    });
  }

  private kernel(positions: readonly LinearLayer[]): Tensor4D {
    const matrices = positions.map(({ name, structure }) => structure.dense(this.structureParameters(name)));
    return kernelOfPositions(matrices, positions[0]?.position?.convolution as ConvolutionInfo);
  }

  /** Calls the observer with the inputs of linear layers: patches, or the inputs of each position. */
  private observe({ name, x, geometry, positions }: Seen): void {
    tidy(() => {
      if (positions.length === 0) this.observer?.(name, patchesUnder(x, geometry));
      else for (const [i, seen] of inputsOfPositions(x, geometry).entries()) this.observer?.(`${name}.${i}`, seen);
    });
  }

  /** Disposes of the model's parameters, except borrowed ones. */
  dispose(): void {
    for (const [name, variable] of this.parameters) {
      if (!this.borrowed.has(name)) variable.dispose();
    }
    this.parameters.clear();
  }
}

interface Seen {
  name: string;
  x: Tensor4D;
  geometry: ConvolutionInfo;
  positions: readonly LinearLayer[];
}
