// Finds the linear layers of an open model by the names of its tensors: structured ones by their parameters, dense ones
// as every other matrix. Embedding tables are looked up, not multiplied with, and are listed apart.

import type { LayerConfig } from "./gblr-config.ts";
import { expectBias, expectTensor, isReal, type LayerPlace, problemOf } from "./layer-tensors.ts";
import type { OpenModel } from "./open-model.ts";
import { packedLayer } from "./packed-layer.ts";
import type { DenseLayer, FactoredLayer, StoredLayer } from "./stored-layer.ts";
import { trainableLayer } from "./trainable-layer.ts";

export interface ModelLayers {
  /** by name, numbers in names in their order */
  layers: StoredLayer[];
  /** names of embedding tables */
  embeddings: string[];
}

/** Parameters that give a layer away, and all that it has. */
const FORMS = [
  { form: "packed", signs: ["spans"], parts: ["spans", "values_in", "values_out"] },
  {
    form: "trainable",
    signs: ["lr_weight1", "lr_weight2"],
    parts: ["lr_weight1", "lr_weight2", "widths", "locations", "sigma", "freq_in", "freq_out"],
  },
  { form: "factored", signs: ["left", "right"], parts: ["left", "right", "values"] },
  { form: "factored", signs: ["first", "second"], parts: ["first", "second"] },
  { form: "factored", signs: ["core"], parts: ["input", "core", "output"] },
] as const;

const EMBEDDING = /(^|[._])(wte|wpe|shared|[a-z_]*embed|[a-z_]*embeddings?|[a-z]*embed_tokens)(\.weight)?$/;

/** @throws ModelError when a layer lacks a tensor, or its tensors do not fit each other or config.json */
export function findLayers({ tensors, path, config }: OpenModel): ModelLayers {
  const layers = new Map<string, StoredLayer>();
  const claimed = new Set<string>();
  const place = (layer: string): LayerPlace => ({ layer, file: path, tensors });
  for (const { form, signs, parts } of FORMS) {
    for (const layer of layersWith(signs, tensors.tensors.keys())) {
      if (layers.has(layer)) throw problemOf(place(layer), `is in two forms: it has ${signs.join(" or ")} too`);
      const settings = config?.layers.get(layer);
      if (form === "packed") layers.set(layer, packedLayer(place(layer), settings));
      else if (form === "trainable") layers.set(layer, trainableLayer(place(layer)));
      else layers.set(layer, factoredLayer(place(layer), { parts, settings }));
      for (const part of parts) claimed.add(`${layer}.${part}`);
    }
  }
  const embeddings: string[] = [];
  for (const [name, info] of tensors.tensors) {
    const isMatrix = isReal(info) && (info.shape.length === 2 || info.shape.length === 4) && !/bias$/.test(name);
    if (claimed.has(name) || !isMatrix || info.shape.includes(0)) continue;
    if (info.shape.length === 2 && EMBEDDING.test(name)) embeddings.push(name);
    else layers.set(name.replace(/\.weight$/, ""), denseLayer(place(name.replace(/\.weight$/, "")), info.shape));
  }
  for (const [layer, settings] of config?.layers ?? []) expectAgreement(place(layer), layers.get(layer), settings);
  return { layers: [...layers.values()].sort((a, b) => inOrder(a.name, b.name)), embeddings: embeddings.sort(inOrder) };
}

function expectAgreement(place: LayerPlace, found: StoredLayer | undefined, settings: LayerConfig): void {
  const { structure, nIn, nOut } = settings;
  if (!found) throw problemOf(place, `config.json lists it as ${structure}, no tensor is its`);
  if (found.nIn !== nIn || found.nOut !== nOut) {
    const [is, says] = [`${found.nIn} × ${found.nOut}`, `${nIn} × ${nOut}`];
    throw problemOf(place, `its tensors are of n_in × n_out = ${is}, config.json says ${says}`);
  }
}

const collator = new Intl.Collator("en", { numeric: true });

/** `h.2` before `h.10`. */
export const inOrder = (a: string, b: string): number => collator.compare(a, b);

function layersWith(signs: readonly string[], names: Iterable<string>): Set<string> {
  const layers = new Set<string>();
  for (const name of names) {
    const dot = name.lastIndexOf(".");
    if (dot > 0 && signs.includes(name.slice(dot + 1))) layers.add(name.slice(0, dot));
  }
  return layers;
}

/** GPT-2's files hold (n_in, n_out), as its convolutions of width 1 do; the bias tells which side is which. */
function denseLayer({ layer, tensors }: LayerPlace, shape: readonly number[]): DenseLayer {
  const [first, ...others] = shape as [number, ...number[]];
  const rest = others.reduce((product, side) => product * side, 1);
  const bias = tensors.tensors.get(`${layer}.bias`)?.shape[0];
  const isTurned = shape.length === 2 && bias === rest && bias !== first;
  return { form: "dense", name: layer, nIn: isTurned ? first : rest, nOut: isTurned ? rest : first };
}

function factoredLayer(
  place: LayerPlace,
  { parts, settings }: { parts: readonly string[]; settings: LayerConfig | undefined },
): FactoredLayer {
  const shapes: Record<string, readonly number[]> = {};
  for (const part of parts) {
    const shape = place.tensors.tensors.get(`${place.layer}.${part}`)?.shape;
    if (shape) shapes[part] = shape;
  }
  const named = {
    form: "factored",
    name: place.layer,
    structure: settings?.structure ?? guess(shapes),
    shapes,
  } as const;
  if (shapes.core) return { ...named, ...tuckerSizes(place, shapes), stride: settings?.stride ?? 1 };
  const [outputs, inputs] = shapes.first ? [shapes.second, shapes.first] : [shapes.left, shapes.right];
  const ranks = shapes.first ? 3 : 2;
  if (outputs?.length !== ranks || inputs?.length !== ranks) {
    throw problemOf(place, `must have both ${parts.slice(0, 2).join(" and ")}, each with ${ranks} sides`);
  }
  const nIn = inputs[shapes.first ? 0 : 1] as number;
  const nOut = outputs[0] as number;
  expectBias(place, nOut);
  return { ...named, nIn, nOut };
}

/** Of the matrix of patches that a Tucker-2 kernel is. */
function tuckerSizes(place: LayerPlace, { core }: FactoredLayer["shapes"]): { nIn: number; nOut: number } {
  const [rows, columns, rankIn, rankOut] = core as [number, number, number, number];
  expectTensor(place, "core", { shape: ["rows", "columns", "r_in", "r_out"] });
  const [channels] = expectTensor(place, "input", { shape: ["n_in", rankIn] }) as [number];
  const [, nOut] = expectTensor(place, "output", { shape: [rankOut, "n_out"] }) as [number, number];
  expectBias(place, nOut);
  return { nIn: rows * columns * channels, nOut };
}

/** What the parameters can be when no config.json says. */
function guess(shapes: FactoredLayer["shapes"]): string {
  if (shapes.core) return "tucker";
  if (shapes.first) return "block low rank";
  return shapes.values ? "block-sparse" : "lowrank";
}
