// A model as its graph is built: parameters and layers by name, as forward passes use them. Weights become tensors of
// the file. The functions mirror those of a Model, with values of the graph instead of tensors.

import { dispose, type Tensor } from "@tensorflow/tfjs-core";
import { parametersOf } from "../../architectures/architecture.ts";
import type { ConvolutionInfo, ParameterInfo } from "../../architectures/network.ts";
import { sourceOf, turnedSource } from "../../models/folder/tensor-sources.ts";
import type { Model } from "../../models/index.ts";
import type { Graph, Value } from "./graph.ts";
import { convolutionOf } from "./layers/convolution.ts";
import { linearOf, type ReadLayer, readLayer } from "./layers/factors.ts";
import { ACTIVATIONS, add, layerNorm, matMul, rmsNorm, transpose } from "./operators.ts";

/** A model and its graph under construction. */
export class ModelGraph<Config = unknown> {
  readonly graph: Graph;
  readonly config: Config;
  private readonly model: Model<Config>;
  private readonly layers: ReadonlyMap<string, ReadLayer>;
  private readonly infos: ReadonlyMap<string, ParameterInfo>;

  private constructor(model: Model<Config>, layers: ReadonlyMap<string, ReadLayer>, graph: Graph) {
    this.graph = graph;
    this.model = model;
    this.config = model.config;
    this.layers = layers;
    this.infos = parametersOf(model.architecture, model.config);
  }

  /**
   * Packs GBLR layers and reads their spans.
   * @param graph an empty graph
   * @throws EngineError when a layer has a structure that cannot be exported
   */
  static async of<Config>(model: Model<Config>, graph: Graph): Promise<ModelGraph<Config>> {
    const layers = new Map<string, ReadLayer>();
    const built = new ModelGraph(model, layers, graph);
    try {
      for (const layer of model.layers.values()) {
        const held = { structure: layer.structure, parameters: model.structureParameters(layer.name) };
        layers.set(layer.name, await readLayer(layer, held));
      }
      return built;
    } catch (error) {
      built.dispose();
      throw error;
    }
  }

  /** Disposes of packed forms, which the tensors of the file are read from. */
  dispose(): void {
    for (const { layer, held } of this.layers.values()) {
      if (held.structure !== layer.structure) dispose({ ...held.parameters });
    }
  }

  /** A parameter in its shape in memory, kernels as (n_out, channels, rows, columns). */
  parameter(name: string): Value {
    const variable = this.model.parameter(name);
    return this.graph.weights(
      this.infos.get(name)?.kernel ? turnedSource(name, variable, [3, 2, 0, 1]) : sourceOf(name, variable),
    );
  }

  /** A matrix (n_out, n_in) as (n_in, n_out). Computed in the graph if it is used as it is, too. */
  turned(name: string): Value {
    const known = this.graph.knownWeights(name);
    if (known !== undefined) return transpose(this.graph, known, [1, 0]);
    return this.graph.weights(turnedSource(name, this.model.parameter(name), [1, 0]));
  }

  /** The name of a parameter. */
  nameOf(variable: Tensor): string {
    const found = [...this.model.parameters].find(([, own]) => own === variable);
    if (!found) throw new TypeError("the tensor is no parameter of the model");
    return found[0];
  }

  hasLayer(name: string): boolean {
    return this.model.hasLayer(name);
  }

  /** Applies a linear layer: x Wᵀ + b. @param x float32 (batch, rows, n_in) */
  linear(name: string, x: Value): Value {
    return this.graph.within(name.replaceAll(".", "/"), () => {
      const product = linearOf(this.graph, this.layers.get(name) as ReadLayer, x);
      return this.model.parameters.has(`${name}.bias`)
        ? add(this.graph, product, this.parameter(`${name}.bias`))
        : product;
    });
  }

  /** A linear layer that is always dense, such as a head, with its bias. @param x float32 (…, n_in) */
  head(name: string, x: Value): Value {
    return add(this.graph, matMul(this.graph, x, this.turned(`${name}.weight`)), this.parameter(`${name}.bias`));
  }

  /** Applies a convolution. @param x float32 (batch, channels, height, width) */
  convolution(name: string, x: Value): Value {
    const positions = this.model.positionsOf(name);
    const names = positions.length === 0 ? [name] : positions.map((position) => position.name);
    const layer = this.model.layer(names[0] as string);
    const bias = this.model.parameters.has(`${name}.bias`) ? this.parameter(`${name}.bias`) : undefined;
    return this.graph.within(name.replaceAll(".", "/"), () =>
      convolutionOf(this.graph, x, {
        parts: names.map((part) => this.layers.get(part) as ReadLayer),
        geometry: (layer.position?.convolution ?? layer.convolution) as ConvolutionInfo,
        bias,
      }),
    );
  }

  /** Applies a layer normalization by the name of its parameters. */
  layerNorm(name: string, x: Value, epsilon: number): Value {
    const [gain, bias] = [this.parameter(`${name}.weight`), this.parameter(`${name}.bias`)];
    return layerNorm(this.graph, x, { gain, bias, epsilon });
  }

  /** Applies an RMS normalization by the name of its parameter. */
  rmsNorm(name: string, x: Value, epsilon: number): Value {
    return rmsNorm(this.graph, x, { gain: this.parameter(`${name}.weight`), epsilon });
  }

  /** Applies an activation function. */
  activate(activation: keyof typeof ACTIVATIONS, x: Value): Value {
    return ACTIVATIONS[activation](this.graph, x);
  }
}
