// Counts the multiply-adds of a model for one image or one full sequence, as a sum over the modules of its network.
// There are two counts: "reference", as the reference implementation counts, for comparison with published figures, and
// "actual", what the model computes. The fields `referenceRows`, `referenceNeeds` and `in` of the modules hold the
// differences between them.

import { EngineError } from "../engine/core/errors.ts";
import { type LayerInfo, layersIn, type Module } from "./network.ts";

/** Multiply-adds by the name of the part, e.g. `linears` or `attention scores`. */
export type Parts = Readonly<Record<string, number>>;

/** The result of one count. */
export interface Counted {
  parts: Parts;
  /** sum of all parts */
  total: number;
  /**
   * total divided by the dense model's total. The reference count divides by the rounded constant of published tables,
   * if there is one
   */
  relative: number;
}

/** The results of both counts. */
export interface Counts {
  /** as the reference implementation counts: some products are left out or counted at other sizes */
  reference: Counted;
  /** all multiply-adds that are computed */
  actual: Counted;
}

export type CountKind = keyof Counts;

/** Multiply-adds per row of each structured layer, by layer name. A row of a convolution is one output position. */
export type LayerCosts = Readonly<Record<string, number>>;

/** Number of rows that a count uses for a structured layer. 0 means that the layer always counts as dense. */
export const rowsOf = ({ rows, referenceRows = rows }: LayerInfo, kind: CountKind): number =>
  kind === "actual" ? rows : referenceRows;

export interface CountOptions {
  /** name of the network in errors */
  title: string;
  /** costs of structured layers; all other layers count as dense. Default: none */
  costs?: LayerCosts;
  /** dense total by which published tables divide. Default: the reference's count of the dense model */
  published?: number | undefined;
}

/**
 * Counts the multiply-adds of a network by both counts.
 * @throws EngineError if `costs` names a layer that the network does not have
 */
export function countNetwork(network: readonly Module[], { title, costs = {}, published }: CountOptions): Counts {
  expectLayers(title, costs, layersIn(network));
  const counted = (kind: CountKind, dense = totalOf(partsOf(network, {}, kind))): Counted => {
    const parts = partsOf(network, costs, kind);
    const total = totalOf(parts);
    return { parts, total, relative: total / dense };
  };
  return { reference: counted("reference", published), actual: counted("actual") };
}

const totalOf = (parts: Parts): number => Object.values(parts).reduce((sum, part) => sum + part, 0);

function partsOf(network: readonly Module[], costs: LayerCosts, kind: CountKind): Parts {
  const found: Record<string, number> = {};
  const add = (name: string, multiplyAdds: number) => {
    found[name] = (found[name] ?? 0) + multiplyAdds;
  };
  const isDense = Object.keys(costs).length === 0;
  const counts = new Set(["both", kind, ...(isDense ? [`dense ${kind}`] : [])]);
  for (const { layer, parts = [] } of network) {
    if (layer) addLayer(layer, { costs, kind, add });
    for (const { name, multiplyAdds, in: where = "both" } of parts) if (counts.has(where)) add(name, multiplyAdds);
  }
  return found;
}

interface Adding {
  costs: LayerCosts;
  kind: CountKind;
  add: (name: string, multiplyAdds: number) => void;
}

function addLayer(layer: LayerInfo, { costs, kind, add }: Adding): void {
  const { name, nIn, nOut, rows, referenceNeeds } = layer;
  const { dense, structured } = partNames(layer, kind);
  const cost = costs[name];
  const structuredRows = rowsOf(layer, kind);
  const isDense = cost === undefined || structuredRows === 0;
  const isLeftOut = kind === "reference" && referenceNeeds !== undefined && costs[referenceNeeds] === 0;
  add(dense, isDense ? rows * nIn * nOut : 0);
  add(structured, isDense || isLeftOut ? 0 : structuredRows * cost);
}

function partNames({ countedAs, convolution }: LayerInfo, kind: CountKind): { dense: string; structured: string } {
  const own = countedAs?.[kind];
  if (own !== undefined) return { dense: own, structured: own };
  const what = convolution ? "convolutions" : "linears";
  return { dense: what, structured: `structured ${what}` };
}

function expectLayers(title: string, costs: LayerCosts, layers: readonly LayerInfo[]): void {
  const names = new Set(layers.map(({ name }) => name));
  const unknown = Object.keys(costs).find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new EngineError(
      `${title} has no layer "${unknown}": there are ${names.size}, from ${layers[0]?.name} to ${layers.at(-1)?.name}`,
      "give costs by the names of its layers",
    );
  }
}
