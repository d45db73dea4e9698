// Attributes the loss that a conversion adds to the converted layers. Each layer is moved along the straight path from its
// converted matrix Ŵ to its dense matrix W by a coefficient α, all layers together: y = Ŵx + α (W − Ŵ) x. The derivative
// of the loss with respect to the coefficient of one layer is the sum over all rows of the error of its outputs times
// their sensitivity, Σ (∂L/∂y)ᵀ (W − Ŵ) x. Its integral over the path is the harm of the layer: integrated gradients
// (Sundararajan, Taly and Yan 2017), whose sum over the layers is the loss that the conversion has added.

import {
  add,
  grads,
  keep,
  mul,
  type Scalar,
  scalar,
  sub,
  type Tensor,
  type Tensor2D,
  tidy,
} from "@tensorflow/tfjs-core";
import { linear } from "../../engine/ops/index.ts";
import type { LinearLayer, Model } from "../../models/model.ts";
import { eventLoopTurn, type Structure } from "../../structures/structure.ts";

/** Nodes on the path from 0 to 1, which weigh the same: the Gauss–Legendre rule of two points. */
const NODES = [0.5 - Math.sqrt(1 / 12), 0.5 + Math.sqrt(1 / 12)];

/** Options of `layerHarms`. */
export interface HarmOptions<Input> {
  /** dense matrices W (n_out, n_in) of the converted layers, by name */
  dense: ReadonlyMap<string, Tensor2D>;
  /** batches of data; `release` is called with each after its use */
  inputs: AsyncIterable<Input>;
  release(input: Input): void;
  /** mean loss of a batch, differentiable */
  loss(model: Model, input: Input): Scalar;
  /** points on the path at which gradients are taken, with equal weights. Default: two */
  nodes?: readonly number[];
  signal: AbortSignal;
}

/** Progress, or the result: the mean over the batches of the loss that each layer adds, by name. */
export type HarmEvent = { kind: "progress"; inputs: number } | { kind: "harms"; harms: Map<string, number> };

/**
 * Computes the harm of each converted layer. The model is changed during the work only.
 * @param model with converted layers
 */
export async function* layerHarms<Input>(model: Model, options: HarmOptions<Input>): AsyncGenerator<HarmEvent, void> {
  const { dense, inputs, release, loss, nodes = NODES, signal } = options;
  const names = [...dense.keys()];
  const sums = new Float64Array(names.length);
  let count = 0;
  const path = new Path(model, dense);
  try {
    for await (const input of inputs) {
      try {
        for (const node of nodes) {
          signal.throwIfAborted();
          const found = await path.derivatives(node, () => loss(model, input));
          found.forEach((value, i) => {
            (sums[i] as number) -= value / nodes.length;
          });
          await eventLoopTurn();
        }
      } finally {
        release(input);
      }
      yield { kind: "progress", inputs: ++count };
    }
  } finally {
    path.leave();
  }
  yield { kind: "harms", harms: new Map(names.map((name, i) => [name, (sums[i] as number) / Math.max(1, count)])) };
}

/** Puts the layers of a model on the path until `leave`. */
class Path {
  private readonly model: Model;
  private readonly before = new Map<string, LinearLayer>();
  private readonly missing: Tensor2D[] = [];
  private readonly mode: Model["masks"]["mode"];
  /** coefficients α, one for each layer */
  private coefficients: readonly Tensor[] = [];

  constructor(model: Model, dense: ReadonlyMap<string, Tensor2D>) {
    this.model = model;
    this.mode = model.masks.mode;
    model.masks.mode = "eval";
    for (const [i, [name, weight]] of [...dense].entries()) {
      const layer = model.layer(name);
      const missing = tidy(() => keep(sub(weight, layer.structure.dense(model.structureParameters(name))))) as Tensor2D;
      this.missing.push(missing);
      this.before.set(name, layer);
      const structure = onPath(layer.structure, { missing, coefficient: () => this.coefficients[i] as Tensor });
      model.layers.set(name, { ...layer, structure });
    }
  }

  /** Derivatives of the loss with respect to the coefficient of each layer, where all have the same value. */
  async derivatives(coefficient: number, loss: () => Scalar): Promise<Float32Array> {
    const all = this.missing.map(() => scalar(coefficient));
    const found = tidy(() =>
      grads((...coefficients: Tensor[]) => {
        this.coefficients = coefficients;
        return loss();
      })(all),
    );
    const values = await Promise.all(found.map(async (each) => (await each.data())[0] as number));
    for (const each of [...all, ...found]) each.dispose();
    return Float32Array.from(values);
  }

  leave(): void {
    for (const [name, layer] of this.before) this.model.layers.set(name, layer);
    for (const each of this.missing) each.dispose();
    if (this.mode === undefined) delete this.model.masks.mode;
    else this.model.masks.mode = this.mode;
  }
}

/** A structure whose matrix is that of another one plus a multiple of what it lacks, (n_out, n_in). */
function onPath(
  structure: Structure,
  { missing, coefficient }: { missing: Tensor2D; coefficient: () => Tensor },
): Structure {
  const { convolve: _, ...own } = structure;
  return {
    ...own,
    apply: (parameters, x) => tidy(() => add(structure.apply(parameters, x), mul(coefficient(), linear(x, missing)))),
    dense: (parameters) => tidy(() => add(structure.dense(parameters), mul(coefficient(), missing))),
  };
}
