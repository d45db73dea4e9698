// A model in memory: its config, its parameters by checkpoint name, and how each linear layer is held. Forward passes ask
// it for a layer by name and never for that layer's structure. Files are read and written elsewhere.

import { add, type Tensor, tidy, type Variable } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/errors.ts";
import { type Activation, gelu, linear } from "../engine/ops/index.ts";
import type { MaskSettings } from "../gblr/parameters.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import type { Architecture, LayerInfo } from "./architecture.ts";

/** A linear layer and what holds its matrix: `dense` where it is as the checkpoint has it. */
export interface LinearLayer extends LayerInfo {
  structure: Structure;
}

export interface ModelParts<Config> {
  architecture: Architecture<Config>;
  config: Config;
  /** config.json as it was read, for what is not ours to know */
  json: Readonly<Record<string, unknown>>;
  parameters: Map<string, Variable>;
  layers: Map<string, LinearLayer>;
  masks?: MaskSettings;
  prefix?: string;
  /** names of parameters that are another model's to dispose of. Default none */
  borrowed?: Iterable<string>;
}

export interface ApplyOptions {
  /** default `none` */
  activation?: Activation;
}

/**
 * Owns its parameters. Those of a dense layer X are `X.weight`, as laid out in the checkpoint, and `X.bias`; those of a
 * structured one `X.<parameter of the structure>` and `X.bias`.
 */
export class Model<Config = unknown> {
  readonly architecture: Architecture<Config>;
  readonly config: Config;
  readonly json: Readonly<Record<string, unknown>>;
  readonly parameters: Map<string, Variable>;
  readonly layers: Map<string, LinearLayer>;
  /** of all GBLR layers, read anew at each product: schedules change them in place */
  readonly masks: MaskSettings;
  /** what its names begin with in checkpoints, see Architecture.prefixes */
  readonly prefix: string;
  /** sees the input of each layer as it is applied; a tensor that it wants to keep it must keep itself */
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
    borrowed = [],
  }: ModelParts<Config>) {
    this.architecture = architecture;
    this.config = config;
    this.json = json;
    this.parameters = parameters;
    this.layers = layers;
    this.masks = masks;
    this.borrowed = new Set(borrowed);
    this.prefix = prefix ?? architecture.prefixes[0] ?? "";
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

  /** The parameters of a layer by the structure's names, without the bias. */
  structureParameters(name: string): StructureParameters {
    const names = this.layer(name).structure.parameterNames;
    return Object.fromEntries(names.map((parameter) => [parameter, this.parameter(`${name}.${parameter}`)]));
  }

  /** activation(x Wᵀ + b). @param x float32 (…, n_in) @returns float32 (…, n_out) */
  linear(name: string, x: Tensor, { activation = "none" }: ApplyOptions = {}): Tensor {
    const { structure, layout } = this.layer(name);
    this.observer?.(name, x);
    const bias = this.parameters.get(`${name}.bias`);
    if (structure.name === "dense") {
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

  /** Its parameters but those borrowed. */
  dispose(): void {
    for (const [name, variable] of this.parameters) {
      if (!this.borrowed.has(name)) variable.dispose();
    }
    this.parameters.clear();
  }
}
