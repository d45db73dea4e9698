// Finds the linear layers of an open model by the names of its tensors. Structured layers are recognized by their
// parameters; all other matrices are dense layers. Embedding tables are listed separately, because they are not
// multiplied. Checks names, types and shapes by the rules of docs/format.md from the headers alone; values are checked
// in check-model.ts.

import type { GblrConfig, LayerConfig } from "./gblr-config.ts";
import { PACKED_PARTS, packedLayer, REFERENCE_BUFFERS, TRAINABLE_PARTS, trainableLayer } from "./gblr-layer.ts";
import { isWeight, type LayerPlace, problemOf } from "./layer-tensors.ts";
import type { OpenModel } from "./open-model.ts";
import { denseLayer, plainLayer, type StoredLayer } from "./stored-layer.ts";
import { STORED_GBLR, type StoredStructure, storedStructures } from "./structures.ts";

/** The layers and embeddings of a model. */
export interface ModelLayers {
  /** in the order of names, with numbers in numerical order */
  layers: StoredLayer[];
  /** names of embedding tables */
  embeddings: string[];
}

/** A form in which tensors store a structured layer. config.json distinguishes structures with the same signs. */
interface Form {
  /** tensors that identify the form */
  signs: readonly string[];
  /** all tensors that it can have */
  parts: readonly string[];
  /** possible structures in config.json, with their parts */
  structures: readonly { stored: StoredStructure; parts: readonly string[] }[];
  /** opens a layer of this form and reports missing tensors. Default `plainLayer` */
  open?: (place: LayerPlace, settings: LayerConfig | undefined) => StoredLayer;
}

const TRAINABLE: readonly string[] = [...TRAINABLE_PARTS, ...REFERENCE_BUFFERS];
const GBLR_FORMS: readonly Form[] = [
  {
    signs: PACKED_PARTS,
    parts: PACKED_PARTS,
    structures: [{ stored: STORED_GBLR, parts: PACKED_PARTS }],
    open: packedLayer,
  },
  {
    signs: ["lr_weight1", "lr_weight2"],
    parts: TRAINABLE,
    structures: [{ stored: STORED_GBLR, parts: TRAINABLE }],
    open: trainableLayer,
  },
];

/** The forms of all registered structures. */
function knownForms(): Form[] {
  const plain = new Map<string, Form>();
  for (const stored of storedStructures()) {
    if (stored.parts === undefined) continue;
    const parts = Object.keys(stored.parts);
    const { signs = parts } = stored;
    const key = signs.toSorted().join();
    const form = plain.get(key) ?? { signs, parts: [], structures: [] };
    const structures = [...form.structures, { stored, parts }];
    plain.set(key, { signs: form.signs, parts: [...new Set([...form.parts, ...parts])], structures });
  }
  return [...GBLR_FORMS, ...plain.values()];
}

const EMBEDDING = /(^|[._])(wte|wpe|shared|[a-z_]*embed|[a-z_]*embeddings?|[a-z]*embed_tokens)(\.weight)?$/;

/**
 * Finds the layers of a model.
 * @throws ModelError when a layer has a missing or an unexpected tensor, or its tensors do not fit each other or
 *   config.json
 */
export function findLayers({ tensors, path, config }: OpenModel): ModelLayers {
  const layers = new Map<string, StoredLayer>();
  const claimed = new Set<string>();
  const forms = knownForms();
  const signs = new Set(forms.flatMap((form) => form.signs));
  const found = partsOfLayers(tensors.tensors.keys(), new Set([...forms.flatMap(({ parts }) => parts), "weight"]));
  const listed = config && namedAsInFile(config.layers, found);
  for (const [layer, parts] of found) {
    const settings = listed?.get(layer);
    if (!settings && ![...parts].some((part) => signs.has(part))) continue;
    const place = { layer, file: path, tensors };
    const held = structuredLayer(place, { parts, settings, mustBeListed: config !== undefined, forms });
    if (settings) expectAgreement(place, held, settings);
    layers.set(layer, held);
    for (const part of parts) claimed.add(`${layer}.${part}`);
  }
  for (const [layer, { structure }] of listed ?? []) {
    if (layers.has(layer)) continue;
    throw problemOf({ layer, file: path, tensors }, `config.json lists it as ${structure}, but it has no tensor`);
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

/** The tensors of each layer that could be parameters of some structure. */
function partsOfLayers(names: Iterable<string>, known: ReadonlySet<string>): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const name of names) {
    const dot = name.lastIndexOf(".");
    const [layer, part] = [name.slice(0, dot), name.slice(dot + 1)];
    if (dot <= 0 || !known.has(part)) continue;
    const parts = found.get(layer) ?? new Set();
    found.set(layer, parts.add(part));
  }
  return found;
}

/**
 * The layers of config.json by their names in the file. transformers saves GPT-2 with the prefix `transformer.` but
 * keeps names without it in config.json.
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
  /** whether config.json must list the layer */
  mustBeListed: boolean;
  forms: readonly Form[];
}

function structuredLayer(place: LayerPlace, { parts, settings, mustBeListed, forms }: Found): StoredLayer {
  const [form, ...others] = matching(forms, parts, settings);
  if (!form) {
    throw problemOf(
      place,
      `config.json lists it as ${settings?.structure}, but its tensors are ${[...parts].join(", ")}`,
    );
  }
  const other = others.find(({ signs }) => signs.some((sign) => parts.has(sign) && !form.parts.includes(sign)));
  if (other) throw problemOf(place, `has two forms: it also has ${other.signs.join(" or ")}`);
  if (!form.open) expectWhole(place, form, parts);
  const own = settings
    ? form.structures.find(({ stored }) => stored.name === settings.structure)
    : // Monarch and block low rank have the same tensors and cost, but different products.
      (form.structures.findLast((each) => each.parts.every((part) => parts.has(part))) ?? form.structures[0]);
  if (!own) {
    const are = [...parts].filter((part) => form.parts.includes(part)).join(", ");
    throw problemOf(place, `config.json lists it as ${settings?.structure}, but its tensors are ${are}`);
  }
  const { name } = own.stored;
  const extra = [...parts].find((part) => !own.parts.includes(part));
  if (extra === "weight") throw problemOf(place, `has two forms: it also has weight, as dense layers do`);
  if (extra !== undefined) throw problemOf(place, `${extra} is not a tensor of structure ${name}`);
  if (mustBeListed && !settings) {
    throw problemOf(place, `has ${form.signs.join(", ")}, but config.json does not list it under gblr.layers`);
  }
  return form.open ? form.open(place, settings) : plainLayer(place, own.stored, settings);
}

/**
 * Returns the forms that have a sign among the tensors of the layer. The form named by config.json comes first,
 * otherwise the one with the most tensors.
 */
function matching(forms: readonly Form[], parts: ReadonlySet<string>, settings: LayerConfig | undefined): Form[] {
  const isMeant = ({ structures }: Form) => structures.some(({ stored }) => stored.name === settings?.structure);
  const count = (form: Form) => form.parts.filter((part) => parts.has(part)).length;
  return forms
    .filter(({ signs }) => signs.some((sign) => parts.has(sign)))
    .sort((a, b) => Number(isMeant(b)) - Number(isMeant(a)) || count(b) - count(a));
}

/** Checks that all signs are present. */
function expectWhole(place: LayerPlace, { signs }: Form, parts: ReadonlySet<string>): void {
  const missing = signs.filter((sign) => !parts.has(sign));
  if (missing.length === 0) return;
  const all = signs.length === 2 ? `both ${signs.join(" and ")}` : signs.join(", ");
  throw problemOf(place, `must have ${all}; ${missing.join(" and ")} is missing`);
}

function expectAgreement(place: LayerPlace, found: StoredLayer, settings: LayerConfig): void {
  const { nIn, nOut, shapes } = settings;
  if (found.nIn !== nIn || found.nOut !== nOut) {
    const [is, says] = [`${found.nIn} × ${found.nOut}`, `${nIn} × ${nOut}`];
    throw problemOf(place, `its tensors have n_in × n_out = ${is}, config.json says ${says}`);
  }
  // `shapes` describes model.safetensors, not the trainable form.
  if (!shapes || found.readStructure) return;
  const parts = Object.keys(found.shapes);
  for (const part of new Set([...parts, ...Object.keys(shapes)])) {
    const is = place.tensors.tensors.get(`${place.layer}.${part}`)?.shape;
    const says = Object.hasOwn(shapes, part) ? shapes[part] : undefined;
    if (is?.join() === says?.join() && parts.includes(part)) continue;
    const [own, said] = [is, says].map((shape) => (shape ? `(${shape.join(", ")})` : "missing"));
    throw problemOf(place, `${part} is ${own}, shapes in config.json says ${said}`);
  }
}
