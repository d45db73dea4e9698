// Structured matrices by standard operators: for each structure, the matrices (rows, columns) of which Wᵀ (n_in, n_out)
// is the product, in the order in which an input is multiplied by them. Runtimes compute at load what depends on no
// input.

import type { Tensor } from "@tensorflow/tfjs-core";
import { EngineError } from "../../../engine/core/errors.ts";
import { sourceOf, turnedSource } from "../../../models/folder/tensor-sources.ts";
import type { LinearLayer } from "../../../models/model.ts";
import type { HeldMatrix } from "../../../structures/structure.ts";
import { type Graph, TYPES, type Value } from "../graph.ts";
import { concat } from "../operators.ts";
import { type PackedLayer, packedFactors, packedLinear, spansOf } from "./packed.ts";

/** A layer with what its graph needs of its parameters' values. */
export interface ReadLayer {
  layer: LinearLayer;
  held: HeldMatrix;
  /** its spans, if it is packed */
  packed?: PackedLayer;
}

/** Functions of a structure. */
interface OnnxStructure {
  factors(g: Graph, layer: ReadLayer): Value[];
  /** x Wᵀ. Default: the product with all factors */
  linear?(g: Graph, layer: ReadLayer, x: Value): Value;
}

/** A parameter as it is, or with its two axes exchanged. */
const whole = (g: Graph, { layer, held }: ReadLayer, part: string): Value =>
  g.weights(sourceOf(`${layer.name}.${part}`, held.parameters[part] as Tensor));
const turned = (g: Graph, { layer, held }: ReadLayer, part: string): Value =>
  g.weights(turnedSource(`${layer.name}.${part}`, held.parameters[part] as Tensor, [1, 0]));

const pruned: OnnxStructure = { factors: (g, read) => [turned(g, read, "entries")] };

/** The structures that can be exported, by their names in files. GBLR layers are packed. */
const STRUCTURES: Readonly<Record<string, OnnxStructure>> = {
  dense: {
    factors: (g, read) => [read.layer.layout === "in_out" ? whole(g, read, "weight") : turned(g, read, "weight")],
  },
  lowrank: { factors: (g, read) => [turned(g, read, "right"), turned(g, read, "left")] },
  gblr: {
    factors: (g, { packed }) => packedFactors(g, packed as PackedLayer),
    linear: (g, { packed }, x) => packedLinear(g, packed as PackedLayer, x),
  },
  pifa: { factors: pifaFactors },
  unstructured: pruned,
  "semi-structured": pruned,
};

/** The pivots, and the pivots' own columns with those of the coefficients behind them, in the order of the outputs. */
function pifaFactors(g: Graph, read: ReadLayer): Value[] {
  const { layer, held } = read;
  const [rank] = (held.parameters.pivots as Tensor).shape as [number];
  const [rest] = (held.parameters.coefficients as Tensor).shape as [number];
  const own = g.op("EyeLike", [g.op("ConstantOfShape", [g.ints([rank, rank])])]);
  const all = rest === 0 ? own : concat(g, [own, turned(g, read, "coefficients")], 1);
  const order = g.op("Cast", [g.weights(sourceOf(`${layer.name}.order`, held.parameters.order as Tensor))], {
    to: TYPES.I32,
  });
  return [turned(g, read, "pivots"), g.op("Gather", [all, order], { axis: 1 })];
}

/**
 * Reads what the graph of a layer needs, and packs GBLR layers.
 * @throws EngineError when layers of its structure cannot be exported
 */
export async function readLayer(layer: LinearLayer, held: HeldMatrix): Promise<ReadLayer> {
  const { name, nIn, nOut } = layer;
  const form = (await held.structure.pack?.(held.parameters)) ?? held;
  if (!form.structure.needsConvolution && !Object.hasOwn(STRUCTURES, form.structure.stored.name)) {
    const known = Object.keys(STRUCTURES).join(", ");
    throw new EngineError(
      `ONNX files hold layers that are ${known}, tucker; ${name} is ${form.structure.stored.name}`,
      "export with --to dense first, and export the result",
    );
  }
  const { spans, values_in, values_out } = form.parameters;
  if (!spans || !values_in || !values_out) return { layer, held: form };
  const [valuesIn, valuesOut] = [sourceOf(`${name}.values_in`, values_in), sourceOf(`${name}.values_out`, values_out)];
  return { layer, held: form, packed: { name, nIn, nOut, spans: spansOf(await spans.data()), valuesIn, valuesOut } };
}

/** The matrices of which Wᵀ (n_in, n_out) is the product. */
export const factorsOf = (g: Graph, read: ReadLayer): Value[] => structureOf(read).factors(g, read);

/** x Wᵀ. @param x float32 (batch, rows, n_in) */
export function linearOf(g: Graph, read: ReadLayer, x: Value): Value {
  const { linear, factors } = structureOf(read);
  if (linear) return linear(g, read, x);
  return factors(g, read).reduce((product, factor) => g.op("MatMul", [product, factor]), x);
}

const structureOf = ({ held }: ReadLayer): OnnxStructure => STRUCTURES[held.structure.stored.name] as OnnxStructure;
