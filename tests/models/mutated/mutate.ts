// Changes a valid model folder in one place, chosen by a seed: spans, shapes, types, names, values, config.json, bytes.

import { bytesNeeded, encodeTensors, float32Tensor, type RawFolder, type RawTensor, sizeOf } from "./files.ts";

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** From 0 to 1. Mulberry32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

export interface Mutation {
  what: string;
  /** what the refusal must name one of: tensors, layers, fields. None where any place may be hit */
  names: string[];
}

type Layers = Record<string, Record<string, unknown>>;
type Mutate = (folder: RawFolder, random: Random) => Mutation | undefined;

const PART =
  /\.(spans|values_in|values_out|left|right|values|first|second|input|core|output|lr_weight1|lr_weight2|widths|locations|sigma)$/;

/** Any tensor, one of a structured layer's more often. */
function someTensor(folder: RawFolder, random: Random): { tensors: RawTensor[]; tensor: RawTensor } {
  const tensors = folder.trainable && random.below(3) > 0 ? folder.trainable : folder.model;
  const structured = tensors.filter(({ name }) => PART.test(name));
  return { tensors, tensor: random.pick(random.below(5) > 0 && structured.length > 0 ? structured : tensors) };
}

const layerOf = (name: string): string => name.replace(/\.[^.]*$/, "");

const told = (what: string, name: string, more: string[] = []): Mutation => ({
  what: `${what} of ${name}`,
  names: [name, layerOf(name), ...more],
});

/** One number of spans becomes another. */
const changeSpan: Mutate = ({ model }, random) => {
  const spans = model.filter(({ name, bytes }) => name.endsWith(".spans") && bytes.length > 0);
  if (spans.length === 0) return undefined;
  const tensor = random.pick(spans);
  const rows = new Int32Array(tensor.bytes.slice().buffer);
  const at = random.below(rows.length);
  const old = rows[at] as number;
  const other = rows[random.below(rows.length)] as number;
  rows[at] = random.pick([old - 1, old + 1, 0, 1, -1, other, old + 1000, 2 ** 31 - 1, -(2 ** 31), random.below(64)]);
  tensor.bytes = new Uint8Array(rows.buffer);
  return told(`number ${at}, ${old} → ${rows[at]},`, tensor.name);
};

/** Lengths of two blocks change so that their sum stays. */
const shiftLengths: Mutate = ({ model }, random) => {
  const spans = model.filter(({ name, shape }) => name.endsWith(".spans") && (shape[1] ?? 0) > 1);
  if (spans.length === 0) return undefined;
  const tensor = random.pick(spans);
  const rows = new Int32Array(tensor.bytes.slice().buffer);
  const blocks = tensor.shape[1] as number;
  const row = random.pick([1, 3]) * blocks;
  const [a, b] = [random.below(blocks), random.below(blocks)];
  rows[row + a] = (rows[row + a] as number) + 1;
  rows[row + b] = (rows[row + b] as number) - 1;
  tensor.bytes = new Uint8Array(rows.buffer);
  return told(`lengths ${a} and ${b}`, tensor.name);
};

const changeValue: Mutate = (folder, random) => {
  const { tensor } = someTensor(folder, random);
  if (tensor.dtype !== "F32" || tensor.bytes.length === 0) return undefined;
  const values = new Float32Array(tensor.bytes.slice().buffer);
  const at = random.below(values.length);
  const old = values[at] as number;
  values[at] = random.pick([0, -old, 2 * old, old + 1, random.next(), Number.NaN, Number.POSITIVE_INFINITY, -1, 1e30]);
  tensor.bytes = new Uint8Array(values.buffer);
  return told(`value ${at}, ${old} → ${values[at]},`, tensor.name);
};

const SHAPES: ((shape: number[], random: Random) => number[])[] = [
  (shape) => [...shape].reverse(),
  (shape, random) => shape.map((side, axis) => (axis === random.below(shape.length) ? side + 1 : side)),
  (shape, random) => shape.map((side, axis) => (axis === random.below(shape.length) ? Math.max(0, side - 1) : side)),
  (shape) => [...shape, 1],
  (shape) => [sizeOf(shape)],
  (shape) => [1, ...shape],
  (shape, random) => shape.map((side, axis) => (axis === random.below(shape.length) ? 0 : side)),
  ([first = 1, ...rest]) => [first * 2, ...rest.map((side, axis) => (axis === 0 ? side / 2 : side))],
  ([first = 1, ...rest]) => [first / 2, ...rest.map((side, axis) => (axis === 0 ? side * 2 : side))],
];

/** A tensor gets another shape, and as many bytes as it then needs. */
const changeShape: Mutate = (folder, random) => {
  const { tensor } = someTensor(folder, random);
  const shape = random.pick(SHAPES)(tensor.shape, random);
  if (!shape.every(Number.isInteger)) return undefined;
  const old = tensor.shape.join(", ");
  tensor.shape = shape;
  const needed = bytesNeeded(tensor);
  const bytes = new Uint8Array(needed);
  for (let at = 0; at < needed && tensor.bytes.length > 0; at += tensor.bytes.length) {
    bytes.set(tensor.bytes.subarray(0, needed - at), at);
  }
  tensor.bytes = bytes;
  return told(`shape (${old}) → (${shape.join(", ")})`, tensor.name);
};

const changeType: Mutate = (folder, random) => {
  const { tensor } = someTensor(folder, random);
  const old = tensor.dtype;
  tensor.dtype = random.pick(["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "U8", "I8"]);
  const bytes = new Uint8Array(bytesNeeded(tensor));
  bytes.set(tensor.bytes.subarray(0, bytes.length));
  tensor.bytes = bytes;
  return told(`type ${old} → ${tensor.dtype}`, tensor.name);
};

const dropTensor: Mutate = (folder, random) => {
  const { tensors, tensor } = someTensor(folder, random);
  tensors.splice(tensors.indexOf(tensor), 1);
  return told("absence", tensor.name);
};

const renameTensor: Mutate = (folder, random) => {
  const { tensors, tensor } = someTensor(folder, random);
  const old = tensor.name;
  tensor.name = random.pick([
    `${old}x`,
    `x.${old}`,
    `transformer.${old}`,
    old.replace(/\d/, "7"),
    `${layerOf(old)}.weight`,
    `${layerOf(old)}.${random.pick(["left", "spans", "core", "first", "values", "bias", "sigma", "widths"])}`,
    random.pick(tensors).name,
  ]);
  if (tensor.name === old) return undefined;
  return told(`name → ${tensor.name}`, old, [tensor.name, layerOf(tensor.name)]);
};

const doubleTensor: Mutate = (folder, random) => {
  const { tensors, tensor } = someTensor(folder, random);
  const layer = layerOf(tensor.name);
  const own = { ...tensor };
  const choices: RawTensor[] = [
    own,
    { ...own, name: `transformer.${tensor.name}` },
    { ...own, name: `${layer}.${random.pick(["weight", "left", "right", "first", "core", "spans", "lr_weight1"])}` },
    float32Tensor(`${layer}.weight`, [16, 48], new Float32Array(768)),
    { ...own, name: tensor.name.replace(/\d+/, (number) => `${Number(number) + 1}`) },
    { ...own, name: "" },
    { ...own, name: "__proto__" },
  ];
  const added = random.pick(choices);
  (random.below(4) === 0 && folder.trainable ? folder.trainable : tensors).push(added);
  return {
    what: `one more ${JSON.stringify(added.name)} like ${tensor.name}`,
    names: [added.name, layerOf(added.name), tensor.name],
  };
};

const JUNK: readonly unknown[] = [
  0,
  -1,
  1.5,
  "x",
  "",
  null,
  true,
  [],
  {},
  [3, 3],
  2 ** 53,
  1e300,
  2 ** 31,
  2 ** 24 + 1,
];

/** All fields of an object that are no objects themselves, by their paths. */
function fieldsOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([name, inner]) => fieldsOf(inner, [...path, name]));
}

function inside(value: Record<string, unknown>, path: readonly string[]): Record<string, unknown> {
  return path.reduce((at, step) => at[step] as Record<string, unknown>, value);
}

const changeField: Mutate = ({ config }, random) => {
  const gblr = config.gblr as Record<string, unknown>;
  const layer = random.pick(Object.keys(gblr.layers as Layers));
  const scope = random.below(4) > 0 ? ["layers", layer] : [];
  const path = random.pick(fieldsOf(inside(gblr, scope)).filter((path) => scope.length > 0 || path[0] !== "layers"));
  const field = [...scope, ...path];
  const holder = inside(gblr, field.slice(0, -1));
  const name = field.at(-1) as string;
  const old = holder[name];
  const near = typeof old === "number" ? [old + 1, old - 1, 2 * old, -old] : [];
  const listed = Array.isArray(old)
    ? [[...old, 1], old.slice(1), old.map((side) => (side as number) + 1), [...old].reverse()]
    : [];
  const names = ["gblr", "lowrank", "monarch", "block-low-rank", "block-sparse", "tucker", "dense", "packed"];
  holder[name] = random.pick([...JUNK, ...near, ...near, ...listed, ...listed, ...(name === "structure" ? names : [])]);
  return {
    what: `${field.join(" ")}: ${JSON.stringify(old)} → ${JSON.stringify(holder[name])}`,
    names: [...path, name, ...(scope.length > 0 ? [layer] : Object.keys(gblr.layers as Layers))],
  };
};

const addField: Mutate = ({ config }, random) => {
  const gblr = config.gblr as Record<string, unknown>;
  const layer = random.pick(Object.keys(gblr.layers as Layers));
  const holder = random.below(2) === 0 ? gblr : inside(gblr, ["layers", layer]);
  const name = random.pick(["sigma", "kernel", "stride", "structure", "shapes", "blocks", "something_new", "images"]);
  holder[name] = random.pick([...JUNK, 1, 5, [1, 1], { spans: [4, 1] }, "gblr", "lowrank"]);
  return {
    what: `field ${name} of ${holder === gblr ? "gblr" : layer}: ${JSON.stringify(holder[name])}`,
    names: [name, ...(holder === gblr ? Object.keys(gblr.layers as Layers) : [layer])],
  };
};

const dropField: Mutate = ({ config }, random) => {
  const gblr = config.gblr as Record<string, unknown>;
  const layer = random.pick(Object.keys(gblr.layers as Layers));
  const holder = random.pick([gblr, inside(gblr, ["layers", layer]), inside(gblr, ["layers", layer])]);
  const name = random.pick(Object.keys(holder));
  delete holder[name];
  const all = Object.keys((gblr.layers as Layers) ?? {});
  return { what: `absence of field ${name}`, names: [name, layer, ...all] };
};

const changeLayers: Mutate = ({ config }, random) => {
  const layers = (config.gblr as { layers: Layers }).layers;
  const [layer, other] = [random.pick(Object.keys(layers)), random.pick(Object.keys(layers))];
  const settings = layers[layer] as Record<string, unknown>;
  const choice = random.below(6);
  const names = [layer, other, "gblr.layers"];
  if (choice === 0) delete layers[layer];
  else if (choice === 1) layers[random.pick(["ghost", `${layer}.0`, `transformer.${layer}`, "wte", "ln_f"])] = settings;
  else if (choice === 2) [layers[layer], layers[other]] = [layers[other] as never, settings];
  else if (choice === 3) {
    delete layers[layer];
    layers[`${layer}x`] = settings;
  } else if (choice === 4) (config.gblr as Record<string, unknown>).layers = random.pick([{}, [], null, 5]);
  else delete config.gblr;
  return { what: `layers, choice ${choice}, ${layer}`, names: [...names, "ghost", "wte", "ln_f", "gblr"] };
};

const MODEL_FIELDS =
  /^(n_\w+|vocab_size|hidden_size|num_\w+|intermediate_size|image_size|patch_size|tie_word_embeddings|layer_norm_epsilon|architecture|num_classes|model_type)$/;

const changeModelField: Mutate = ({ config }, random) => {
  const fields = Object.keys(config).filter((name) => MODEL_FIELDS.test(name));
  const name = random.pick(fields);
  const old = config[name];
  const near = typeof old === "number" ? [old + 1, old - 1, 2 * old, old / 2] : [];
  config[name] = random.pick([...JUNK, ...near, ...near]);
  return { what: `${name}: ${JSON.stringify(old)} → ${JSON.stringify(config[name])}`, names: [] };
};

/** What JSON.stringify cannot write. */
const changeText: Mutate = (folder, random) => {
  const text = JSON.stringify(folder.config);
  const [from, to] = random.pick<[RegExp, string]>([
    [/"n_in":\d+/, '"n_in":1e999'],
    [/"blocks":\d+/, '"blocks":1e3'],
    [/"n_in":(\d+)/, '"n_in":$1.0'],
    [/"n_in":(\d+)/, '"n_in":7,"n_in":$1'],
    [/"format":1/, '"format":1,"format":1'],
    [/"format":1/, '"format":2'],
    [/"format":1/, '"format":"1"'],
    [/"n_out":\d+/, '"n_out":NaN'],
    [/"layers":\{/, '"layers":{"__proto__":{"n_in":4,"n_out":4,"blocks":0},'],
    [/"gblr":/, '"gblr":{},"gblr":'],
    [/\}$/, ""],
    [/^\{/, '{"x":"\ud800",'],
  ]);
  folder.configText = text.replace(from, to);
  return { what: `config.json, ${from} → ${to}`, names: [] };
};

function someFile(folder: RawFolder, random: Random): { name: string; bytes: Uint8Array } {
  const inTraining = folder.trainable && random.below(2) === 0;
  const name = inTraining ? "trainable.safetensors" : "model.safetensors";
  return { name, bytes: encodeTensors((inTraining ? folder.trainable : folder.model) as RawTensor[]) };
}

const cutFile: Mutate = (folder, random) => {
  const { name, bytes } = someFile(folder, random);
  const longer = new Uint8Array(bytes.length + 1 + random.below(9));
  longer.set(bytes);
  folder.raw.set(name, random.below(4) === 0 ? longer : bytes.slice(0, random.below(bytes.length)));
  return { what: `length of ${name}`, names: [] };
};

const changeHeader: Mutate = (folder, random) => {
  const { name, bytes } = someFile(folder, random);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const at = random.below(random.below(4) === 0 ? 8 : 8 + length);
  const old = bytes[at] as number;
  bytes[at] = random.pick([old ^ (1 << random.below(8)), random.below(256), 0x30 + random.below(10)]);
  if (bytes[at] === old) return undefined;
  folder.raw.set(name, bytes);
  return { what: `byte ${at} of ${name}, ${old} → ${bytes[at]}`, names: [] };
};

/** Each as often as it is here. */
const MUTATIONS: Record<string, Mutate> = {
  changeSpan,
  changeSpanAgain: changeSpan,
  shiftLengths,
  changeValue,
  changeShape,
  changeShapeAgain: changeShape,
  changeType,
  dropTensor,
  renameTensor,
  doubleTensor,
  changeField,
  changeFieldAgain: changeField,
  addField,
  dropField,
  changeLayers,
  changeModelField,
  changeText,
  cutFile,
  changeHeader,
};

/** Changes the folder in place. */
export function mutate(folder: RawFolder, random: Random): Mutation & { kind: string } {
  for (;;) {
    const kind = random.pick(Object.keys(MUTATIONS));
    const mutation = (MUTATIONS[kind] as Mutate)(folder, random);
    if (mutation) return { ...mutation, kind };
  }
}
