// Finds the linear layers of an open model by the names of its tensors: structured ones by their parameters, dense ones
// as every other matrix. Embedding tables are looked up, not multiplied with, and are listed apart. Names, types and
// shapes are held to docs/format.md here, by the headers alone; what needs values is in check-model.ts.

import { factoredLayer } from "./factored-layer.ts";
import type { GblrConfig, LayerConfig } from "./gblr-config.ts";
import { isWeight, type LayerPlace, problemOf } from "./layer-tensors.ts";
import type { OpenModel } from "./open-model.ts";
import { PACKED_PARTS, packedLayer } from "./packed-layer.ts";
import type { DenseLayer, FactoredLayer, StoredLayer, StructuredLayer } from "./stored-layer.ts";
import { FACTORED } from "./structure-rules.ts";
import { TRAINABLE_PARTS, trainableLayer } from "./trainable-layer.ts";

export interface ModelLayers {
  /** by name, numbers in names in their order */
  layers: StoredLayer[];
  /** names of embedding tables */
  embeddings: string[];
}

/** How tensors can hold a structured layer. */
interface Form {
  /** tensors by which it is known */
  signs: readonly string[];
  /** all that it can have */
  parts: readonly string[];
  /** what config.json may call the layer */
  structures: readonly LayerConfig["structure"][];
  /** what it most likely is where no config.json says */
  guess: (parts: ReadonlySet<string>) => LayerConfig["structure"];
}

/** Buffers of the reference's layers, which say nothing that is not in config.json. */
export const REFERENCE_BUFFERS = ["sigma", "freq_in", "freq_out"];

const FORMS: Record<"packed" | "trainable" | "factors" | "blocks" | "core", Form> = {
  packed: { signs: PACKED_PARTS, parts: PACKED_PARTS, structures: ["gblr"], guess: () => "gblr" },
  trainable: {
    signs: ["lr_weight1", "lr_weight2"],
    parts: [...TRAINABLE_PARTS, ...REFERENCE_BUFFERS],
    structures: ["gblr"],
    guess: () => "gblr",
  },
  factors: {
    signs: ["left", "right"],
    parts: ["left", "right", "values"],
    structures: ["lowrank", "block-sparse"],
    guess: (parts) => (parts.has("values") ? "block-sparse" : "lowrank"),
  },
  // The tensors of both are alike, and so is what they cost; what they multiply to is not.
  blocks: {
    signs: ["first", "second"],
    parts: ["first", "second"],
    structures: ["monarch", "block-low-rank"],
    guess: () => "block-low-rank",
  },
  core: { signs: ["core"], parts: ["input", "core", "output"], structures: ["tucker"], guess: () => "tucker" },
};

const SIGNS = new Set(Object.values(FORMS).flatMap(({ signs }) => signs));
const PARTS = new Set([...Object.values(FORMS).flatMap(({ parts }) => parts), "weight"]);

const EMBEDDING = /(^|[._])(wte|wpe|shared|[a-z_]*embed|[a-z_]*embeddings?|[a-z]*embed_tokens)(\.weight)?$/;

/** @throws ModelError when a layer lacks a tensor, or has one too many, or its tensors do not fit each other or config.json */
export function findLayers({ tensors, path, config }: OpenModel): ModelLayers {
  const layers = new Map<string, StoredLayer>();
  const claimed = new Set<string>();
  const found = partsOfLayers(tensors.tensors.keys());
  const listed = config && namedAsInFile(config.layers, found);
  for (const [layer, parts] of found) {
    const settings = listed?.get(layer);
    if (!settings && ![...parts].some((part) => SIGNS.has(part))) continue;
    const place = { layer, file: path, tensors };
    const held = structuredLayer(place, { parts, settings, mustBeListed: config !== undefined });
    if (settings) expectAgreement(place, held, settings);
    layers.set(layer, held);
    for (const part of parts) claimed.add(`${layer}.${part}`);
  }
  for (const [layer, { structure }] of listed ?? []) {
    if (layers.has(layer)) continue;
    throw problemOf({ layer, file: path, tensors }, `config.json lists it as ${structure}, no tensor is its`);
  }
  const embeddings: string[] = [];
  for (const [name, info] of tensors.tensors) {
    const isMatrix = isWeight(info) && (info.shape.length === 2 || info.shape.length === 4) && !/bias$/.test(name);
    if (claimed.has(name) || !isMatrix || info.shape.includes(0)) continue;
    const layer = name.replace(/\.weight$/, "");
    if (info.shape.length === 2 && EMBEDDING.test(name)) embeddings.push(name);
    else layers.set(layer, denseLayer({ layer, file: path, tensors }, info.shape));
  }
  return { layers: [...layers.values()].sort((a, b) => inOrder(a.name, b.name)), embeddings: embeddings.sort(inOrder) };
}

const collator = new Intl.Collator("en", { numeric: true });

/** `h.2` before `h.10`. */
export const inOrder = (a: string, b: string): number => collator.compare(a, b);

/** By layer the parameters that it could have in some structure. */
function partsOfLayers(names: Iterable<string>): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const name of names) {
    const dot = name.lastIndexOf(".");
    const [layer, part] = [name.slice(0, dot), name.slice(dot + 1)];
    if (dot <= 0 || !PARTS.has(part)) continue;
    const parts = found.get(layer) ?? new Set();
    found.set(layer, parts.add(part));
  }
  return found;
}

/**
 * Layers under the names that the file has. transformers saves GPT-2 with `transformer.` before all names, also where
 * config.json, which it leaves as it was, has none.
 */
function namedAsInFile(layers: GblrConfig["layers"], found: ReadonlyMap<string, unknown>): GblrConfig["layers"] {
  const [first = ""] = layers.keys();
  const prefixed = found.has(first) ? undefined : [...found.keys()].find((name) => name.endsWith(`.${first}`));
  if (prefixed === undefined) return layers;
  const prefix = prefixed.slice(0, -first.length);
  return new Map([...layers].map(([name, settings]) => [prefix + name, settings]));
}

interface Found {
  parts: ReadonlySet<string>;
  settings: LayerConfig | undefined;
  /** in config.json */
  mustBeListed: boolean;
}

function structuredLayer(place: LayerPlace, { parts, settings, mustBeListed }: Found): StructuredLayer {
  const [form, other] = Object.values(FORMS).filter(({ signs }) => signs.some((sign) => parts.has(sign)));
  if (!form) {
    throw problemOf(place, `config.json lists it as ${settings?.structure}, its tensors are ${[...parts].join(", ")}`);
  }
  if (other) throw problemOf(place, `is in two forms: it has ${other.signs.join(" or ")} too`);
  if (!form.structures.includes("gblr")) expectWhole(place, form, parts);
  const structure = settings?.structure ?? form.guess(parts);
  const names = structure === "gblr" ? form.parts : Object.keys(FACTORED[structure].parts);
  const extra = [...parts].find((part) => !names.includes(part));
  if (!form.structures.includes(structure)) {
    const are = [...parts].filter((part) => form.parts.includes(part)).join(", ");
    throw problemOf(place, `config.json lists it as ${structure}, its tensors are ${are}`);
  }
  if (extra === "weight") throw problemOf(place, `is in two forms: it has weight too, which dense layers have`);
  if (extra !== undefined) throw problemOf(place, `${extra} is too much in a layer of structure ${structure}`);
  if (mustBeListed && !settings) {
    throw problemOf(place, `has ${form.signs.join(", ")}, and config.json does not list it under gblr.layers`);
  }
  return heldBy(place, { form, structure, settings });
}

/** That the signs are all there: one that is alone is no layer's. */
function expectWhole(place: LayerPlace, { signs }: Form, parts: ReadonlySet<string>): void {
  const missing = signs.filter((sign) => !parts.has(sign));
  if (missing.length === 0) return;
  const all = signs.length === 2 ? `both ${signs.join(" and ")}` : signs.join(", ");
  throw problemOf(place, `must have ${all}; ${missing.join(" and ")} is missing`);
}

interface Held extends Pick<Found, "settings"> {
  form: Form;
  structure: LayerConfig["structure"];
}

function heldBy(place: LayerPlace, { form, structure, settings }: Held): StructuredLayer {
  if (form === FORMS.packed) return packedLayer(place, settings);
  if (form === FORMS.trainable) return trainableLayer(place, settings);
  return factoredLayer(place, { structure: structure as FactoredLayer["structure"], settings });
}

function expectAgreement(place: LayerPlace, found: StructuredLayer, settings: LayerConfig): void {
  const { nIn, nOut, shapes } = settings;
  if (found.nIn !== nIn || found.nOut !== nOut) {
    const [is, says] = [`${found.nIn} × ${found.nOut}`, `${nIn} × ${nOut}`];
    throw problemOf(place, `its tensors are of n_in × n_out = ${is}, config.json says ${says}`);
  }
  // They are those of model.safetensors; the trainable form lies elsewhere.
  if (!shapes || found.form === "trainable") return;
  const parts = found.form === "packed" ? PACKED_PARTS : Object.keys(found.shapes);
  for (const part of new Set([...parts, ...Object.keys(shapes)])) {
    const is = place.tensors.tensors.get(`${place.layer}.${part}`)?.shape;
    const says = Object.hasOwn(shapes, part) ? shapes[part] : undefined;
    if (is?.join() === says?.join() && parts.includes(part as never)) continue;
    const [own, said] = [is, says].map((shape) => (shape ? `(${shape.join(", ")})` : "missing"));
    throw problemOf(place, `${part} is ${own}, shapes in config.json says ${said}`);
  }
}

/** GPT-2's files hold (n_in, n_out), as its convolutions of width 1 do; the bias tells which side is which. */
function denseLayer({ layer, tensors }: LayerPlace, shape: readonly number[]): DenseLayer {
  const [first, ...others] = shape as [number, ...number[]];
  const rest = others.reduce((product, side) => product * side, 1);
  const bias = tensors.tensors.get(`${layer}.bias`)?.shape[0];
  const isTurned = shape.length === 2 && bias === rest && bias !== first;
  return { form: "dense", name: layer, nIn: isTurned ? first : rest, nOut: isTurned ? rest : first };
}
