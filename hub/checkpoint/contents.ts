// What a checkpoint's value comes to: its tensors by name, and everything else as JSON. A `state_dict` at the top is what
// the tensors are taken from; without one, all that are nested in dictionaries, lists and modules are, their keys joined by
// dots.

import type { Fail } from "../files/byte-source.ts";
import { CheckpointError } from "./checkpoint.ts";
import {
  Dict,
  describeArray,
  Global,
  Instance,
  itemsOf,
  type PickleValue,
  SetOf,
  StorageView,
  TensorView,
} from "./pickle-values.ts";
import { type LocatedTensor, locateTensor, type Storage } from "./storage.ts";

const STATE_DICT = "state_dict";
/** The name of a tensor that is all there is. */
const LONE_TENSOR = "tensor";

export interface Contents {
  tensors: Map<string, LocatedTensor>;
  /** everything that is no tensor; tensors outside the state_dict are named by type and shape */
  rest: { [key: string]: Json };
}

export interface ContentsOptions {
  file: string;
  storage(key: string): Storage | undefined;
}

/** @throws CheckpointError when any tensor, taken or not, is not inside its storage */
export function contentsOf(root: PickleValue, { file, storage }: ContentsOptions): Contents {
  const fail: Fail = (problem, options) => new CheckpointError(problem, { file }, options);
  const locate = (view: TensorView, tensor: string) =>
    locateTensor(view, { storage, fail: (problem, o) => new CheckpointError(problem, { file, tensor }, o) });
  const writer = new JsonWriter({
    fail,
    tensor: (view, path) => {
      const { dtype, shape } = locate(view, path.join("."));
      return `<tensor ${dtype} [${shape.join(", ")}]>`;
    },
  });
  const tensors = new Map<string, LocatedTensor>();
  const take = (view: TensorView, path: readonly string[]) => {
    const name = path.join(".") || LONE_TENSOR;
    if (tensors.has(name)) throw new CheckpointError("two tensors have this name", { file, tensor: name });
    tensors.set(name, locate(view, name));
  };
  const walker = new Walker({ writer, take });
  const state = root instanceof Dict ? root.entries.get(STATE_DICT) : undefined;
  if (!(root instanceof Dict) || !(state instanceof Dict)) {
    const left = walker.walk(root, []);
    return { tensors, rest: root instanceof Dict ? ((left ?? {}) as Contents["rest"]) : objectOf({ value: left }) };
  }
  const others = Array.from(root.entries, ([key, value]) => {
    const name = keyText(key);
    return [name, value === state ? walker.walk(state, []) : writer.write(value, [name])] as const;
  });
  return { tensors, rest: objectOf(Object.fromEntries(others)) };
}

/** The same without what is undefined. */
function objectOf(values: { [key: string]: Json | undefined }): { [key: string]: Json } {
  return Object.fromEntries(Object.entries(values).filter((pair): pair is [string, Json] => pair[1] !== undefined));
}

interface WalkerOptions {
  writer: JsonWriter;
  take(view: TensorView, path: readonly string[]): void;
}

/** Takes the tensors out of nested dictionaries and lists, and returns what is left. */
class Walker {
  readonly #options: WalkerOptions;
  readonly #open = new Set<PickleValue>();

  constructor(options: WalkerOptions) {
    this.#options = options;
  }

  /** @returns undefined where nothing but tensors was */
  walk(value: PickleValue, path: readonly string[]): Json | undefined {
    const { writer, take } = this.#options;
    if (value instanceof TensorView) {
      writer.count(path);
      return void take(value, path);
    }
    const inside = this.#inside(value, path);
    if (!inside) return writer.write(value, path);
    writer.count(path);
    if (this.#open.has(value)) return "<cycle>";
    this.#open.add(value);
    const left = inside();
    this.#open.delete(value);
    return left;
  }

  /** What walks the values of a container. @returns undefined for what is none */
  #inside(value: PickleValue, path: readonly string[]): (() => Json | undefined) | undefined {
    const items = itemsOf(value);
    if (items) return () => this.#list(items, path);
    if (value instanceof Dict) return () => this.#dict(value, path);
    return isModule(value) ? () => this.#module(value, path) : undefined;
  }

  /** Its tensors, then those of its modules, as state_dict has them. @returns its class and its attributes */
  #module(value: Module, path: readonly string[]): Json {
    const { writer } = this.#options;
    const { tensors, modules, attributes } = partsOfModule(value);
    const entries = new Dict();
    for (const [name, part] of [...tensors, ...modules]) entries.entries.set(name, part);
    const named = Array.from(attributes, ([key, attribute]) => {
      const name = keyText(key);
      return [name, writer.write(attribute, [...path, name])] as const;
    });
    const inside = this.#dict(entries, path) as { [key: string]: Json } | undefined;
    return { [CLASS_KEY]: value.className, ...Object.fromEntries(named), ...inside };
  }

  #dict({ entries }: Dict, path: readonly string[]): Json | undefined {
    const left = Array.from(entries, ([key, value]) => {
      const name = keyText(key);
      return [name, this.walk(value, [...path, name])] as const;
    });
    const kept = objectOf(Object.fromEntries(left));
    return Object.keys(kept).length === 0 && entries.size > 0 ? undefined : kept;
  }

  #list(items: readonly PickleValue[], path: readonly string[]): Json | undefined {
    const left = items.map((item, i) => this.walk(item, [...path, String(i)]));
    if (items.length > 0 && left.every((item) => item === undefined)) return undefined;
    return left.map((item) => item ?? null);
  }
}

/** Whether an object with this state is a torch.nn.Module. */
export function isModuleState(state: PickleValue): state is Dict {
  return ["_parameters", "_modules"].every((part) => partOf(state, part) !== undefined);
}

export interface ModuleParts {
  /** parameters and buffers, in the order of state_dict: without those that are None, and buffers that are not persistent */
  tensors: Map<PickleValue, PickleValue>;
  modules: ReadonlyMap<PickleValue, PickleValue>;
  /** attributes of its own, such as the heads of an attention layer */
  attributes: Map<PickleValue, PickleValue>;
}

export type Module = Instance & { state: Dict };

export const isModule = (value: PickleValue): value is Module =>
  value instanceof Instance && isModuleState(value.state);

export function partsOfModule({ state }: Module): ModuleParts {
  const { entries } = state;
  const notPersistent = entries.get("_non_persistent_buffers_set");
  const hidden = new Set(notPersistent instanceof SetOf ? notPersistent.items : []);
  const buffers = [...(partOf(state, "_buffers") ?? [])].filter(([name]) => !hidden.has(name));
  const tensors = [...(partOf(state, "_parameters") ?? []), ...buffers].filter(([, tensor]) => tensor !== null);
  const attributes = [...entries].filter(([name]) => typeof name === "string" && !name.startsWith("_"));
  return {
    tensors: new Map(tensors),
    modules: partOf(state, "_modules") ?? new Map(),
    attributes: new Map(attributes),
  };
}

/** The entries of a dictionary that a module has under this name. */
function partOf(state: PickleValue, name: string): ReadonlyMap<PickleValue, PickleValue> | undefined {
  const part = state instanceof Dict ? state.entries.get(name) : undefined;
  return part instanceof Dict ? part.entries : undefined;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Key under which an object's class is named. */
export const CLASS_KEY = "__class__";
/** Levels of nesting, over which a checkpoint is refused. */
export const MAX_DEPTH = 200;
/** Values in all, counted each time one appears. */
export const MAX_VALUES = 1_000_000;

export interface JsonOptions {
  fail: Fail;
  /** what stands for a tensor at this path */
  tensor: (view: TensorView, path: readonly string[]) => Json;
}

/** One document after another against one budget. */
export class JsonWriter {
  readonly #options: JsonOptions;
  /** containers that are being written: one that contains itself must end somewhere */
  readonly #open = new Set<PickleValue>();
  #values = 0;

  constructor(options: JsonOptions) {
    this.#options = options;
  }

  /** @param path keys that lead to the value */
  write(value: PickleValue, path: readonly string[]): Json {
    this.count(path);
    if (value === null || typeof value === "boolean" || typeof value === "string") return value;
    if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
    if (typeof value === "bigint") return String(value);
    if (value instanceof Uint8Array) return `<${value.byteLength} bytes>`;
    if (value instanceof Global) return value.path;
    if (value instanceof StorageView) return "<storage>";
    if (value instanceof TensorView) return this.#options.tensor(value, path);
    const described = value instanceof Instance ? describe(value) : undefined;
    if (described !== undefined) return described;
    if (this.#open.has(value)) return "<cycle>";
    this.#open.add(value);
    const written = this.#container(value, path);
    this.#open.delete(value);
    return written;
  }

  /** One more value at a path. */
  count(path: readonly string[]): void {
    if (path.length > MAX_DEPTH) throw this.#options.fail(`nests values more than ${MAX_DEPTH} levels deep`);
    if (++this.#values > MAX_VALUES) throw this.#options.fail(`describes more than ${MAX_VALUES} values`);
  }

  #container(value: Exclude<PickleValue, null>, path: readonly string[]): Json {
    const items = value instanceof SetOf ? value.items : itemsOf(value);
    if (items) return items.map((item, i) => this.write(item, [...path, String(i)]));
    if (value instanceof Dict) return this.#object(value.entries, path);
    return value instanceof Instance ? this.#instance(value, path) : null;
  }

  #object(entries: ReadonlyMap<PickleValue, PickleValue>, path: readonly string[]): { [key: string]: Json } {
    return Object.fromEntries(
      Array.from(entries, ([key, value]) => {
        const name = keyText(key);
        return [name, this.write(value, [...path, name])];
      }),
    );
  }

  #instance(value: Instance, path: readonly string[]): Json {
    const content = configContent(value);
    if (content !== undefined) return this.write(content, [...path, "_content"]); // deeper, so that it ends
    const { className, args, items, entries, state } = value;
    const written: { [key: string]: Json } = { [CLASS_KEY]: className };
    if (args.length > 0) written.arguments = this.write([...args], [...path, "arguments"]);
    if (items.length > 0) written.items = this.write(items, [...path, "items"]);
    const fields = new Map(entries);
    if (state instanceof Dict) for (const [name, field] of state.entries) fields.set(name, field);
    else if (state !== null) written.state = this.write(state, [...path, "state"]);
    return { ...written, ...this.#object(fields, path) };
  }
}

/** What is too large to be written out: arrays and whole modules. */
const describe = (value: Instance): string | undefined =>
  isModule(value) ? `<module ${value.className}>` : describeArray(value);

/** A dictionary's key as text: Python's may be numbers, tuples and more. */
export function keyText(key: PickleValue): string {
  const items = itemsOf(key);
  if (items) return `(${items.map((item) => (itemsOf(item) ? "(…)" : keyText(item))).join(", ")})`;
  if (key instanceof Global) return key.path;
  return typeof key === "object" && key !== null ? "<object>" : String(key);
}

/** OmegaConf keeps a configuration's values under its own objects: the values are what was meant. */
function configContent({ className, state }: Instance): PickleValue | undefined {
  if (!className.startsWith("omegaconf.") || !(state instanceof Dict)) return undefined;
  return state.entries.get("_content") ?? state.entries.get("_val");
}
