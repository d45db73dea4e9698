// Multiply-adds of a model for one image or one full sequence: a sum over the modules of its network. Counted twice: as
// the reference implementation counts, for comparison with published figures, and as the model runs. How the reference's
// rules differ is said on the modules: rows of structured layers, parts that it leaves out.

import { EngineError } from "../engine/core/errors.ts";
import { type LayerInfo, layersIn, type Module } from "./network.ts";

/** Multiply-adds by the name of what makes them. */
export type Parts = Readonly<Record<string, number>>;

export interface Counted {
  parts: Parts;
  /** of all parts */
  total: number;
  /** total as a share of the dense model's; `reference`: of the rounded constant that published tables divide by */
  relative: number;
}

export interface Counts {
  /** as the reference counts: some products left out or taken at other sizes */
  reference: Counted;
  /** what runs, at the sizes at which it runs */
  actual: Counted;
}

export type CountKind = keyof Counts;

/** Multiply-adds a row (for convolutions: an output position) of the layers that are structured, by layer name. */
export type LayerCosts = Readonly<Record<string, number>>;

/** Rows by which a count takes a structured layer. 0: it counts the layer as dense whatever structure it has. */
export const rowsOf = ({ rows, referenceRows = rows }: LayerInfo, kind: CountKind): number =>
  kind === "actual" ? rows : referenceRows;

export interface CountOptions {
  /** of the network in errors */
  title: string;
  /** of structured layers; all others count as dense. Default none */
  costs?: LayerCosts;
  /** dense total that published relative costs divide by. Default the reference's count of the dense model */
  published?: number | undefined;
}

/** @throws EngineError when there is a cost for a layer that the network does not have */
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
