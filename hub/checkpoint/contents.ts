// Splits an unpickled value into tensors, by name, and everything else, as JSON. If the value is a dictionary with a
// `state_dict`, the tensors come from there; otherwise they are collected from all nested dictionaries, lists and
// modules, and their keys are joined by dots. Objects are written as their class name and fields; they are never
// created. Depth and number of values are limited, because a few bytes of pickle can describe JSON of unlimited size.

import type { Fail } from "../files/byte-source.ts";
import { FileError } from "../files/file-error.ts";
import {
  Dict,
  describeArray,
  Global,
  Instance,
  isModuleState,
  itemsOf,
  type PickleValue,
  partOf,
  SetOf,
  StorageView,
  TensorView,
} from "./pickle-values.ts";
import { type LocatedTensor, locateTensor, type Storage } from "./storage.ts";

/** A file is not a checkpoint, is damaged, or requires an operation that is not allowed. */
export class CheckpointError extends FileError {
  override readonly name = "CheckpointError";
}

const STATE_DICT = "state_dict";
/** Name given to the tensor of a checkpoint that consists of a single tensor. */
const LONE_TENSOR = "tensor";

/** A checkpoint's tensors, and the rest. */
export interface Contents {
  tensors: Map<string, LocatedTensor>;
  /** everything except tensors. Tensors outside the state_dict appear as text with their type and shape */
  rest: { [key: string]: Json };
}

/** The file of a value, for errors, and its storages by key. */
export interface ContentsOptions {
  file: string;
  storage(key: string): Storage | undefined;
}

/**
 * Splits the value.
 * @throws CheckpointError when a tensor, used or not, is not inside its storage
 */
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

/** The same object without its undefined values. */
function objectOf(values: { [key: string]: Json | undefined }): { [key: string]: Json } {
  return Object.fromEntries(Object.entries(values).filter((pair): pair is [string, Json] => pair[1] !== undefined));
}

interface WalkerOptions {
  writer: JsonWriter;
  take(view: TensorView, path: readonly string[]): void;
}

/** Collects the tensors of nested dictionaries, lists and modules, and returns everything else. */
class Walker {
  readonly #options: WalkerOptions;
  /** containers that are being walked, to detect cycles */
  readonly #open = new Set<PickleValue>();

  constructor(options: WalkerOptions) {
    this.#options = options;
  }

  /** @returns undefined if the value contains only tensors */
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

  /** A function that walks the values of a container. Undefined if the value is not a container. */
  #inside(value: PickleValue, path: readonly string[]): (() => Json | undefined) | undefined {
    const items = itemsOf(value);
    if (items) return () => this.#list(items, path);
    if (value instanceof Dict) return () => this.#dict(value, path);
    return isModule(value) ? () => this.#module(value, path) : undefined;
  }

  /**
   * Collects the tensors of a module, then those of its submodules, under the names that its state_dict would have.
   * @returns its class and its attributes
   */
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

interface ModuleParts {
  /** parameters and buffers in the order of state_dict, without None and without buffers that are not persistent */
  tensors: Map<PickleValue, PickleValue>;
  modules: ReadonlyMap<PickleValue, PickleValue>;
  /** the module's own attributes, such as the number of heads of an attention layer */
  attributes: Map<PickleValue, PickleValue>;
}

type Module = Instance & { state: Dict };

const isModule = (value: PickleValue): value is Module => value instanceof Instance && isModuleState(value.state);

function partsOfModule({ state }: Module): ModuleParts {
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

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Key that holds the class name of an object. */
const CLASS_KEY = "__class__";
/** Deepest nesting that is accepted. */
const MAX_DEPTH = 200;
/** Largest number of values that is accepted, repetitions included. */
const MAX_VALUES = 1_000_000;

interface JsonOptions {
  fail: Fail;
  /** text that represents the tensor at this path */
  tensor: (view: TensorView, path: readonly string[]) => Json;
}

/** Writes several documents; the limit on values applies to all of them together. */
class JsonWriter {
  readonly #options: JsonOptions;
  /** containers that are being written, to detect cycles */
  readonly #open = new Set<PickleValue>();
  #values = 0;

  constructor(options: JsonOptions) {
    this.#options = options;
  }

  /** @param path the keys that lead to the value */
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

  /** Counts one more value and checks the limits. */
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
    // The added path element counts toward MAX_DEPTH, which limits the recursion.
    if (content !== undefined) return this.write(content, [...path, "_content"]);
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

/** Short text for arrays and whole modules, which are too large to write out. Undefined for everything else. */
const describe = (value: Instance): string | undefined =>
  isModule(value) ? `<module ${value.className}>` : describeArray(value);

/** A dictionary's key as text. Python's keys can be numbers, tuples and other objects. */
function keyText(key: PickleValue): string {
  const items = itemsOf(key);
  if (items) return `(${items.map((item) => (itemsOf(item) ? "(…)" : keyText(item))).join(", ")})`;
  if (key instanceof Global) return key.path;
  return typeof key === "object" && key !== null ? "<object>" : String(key);
}

/** The values of an OmegaConf configuration, without the objects that OmegaConf wraps around them. */
function configContent({ className, state }: Instance): PickleValue | undefined {
  if (!className.startsWith("omegaconf.") || !(state instanceof Dict)) return undefined;
  return state.entries.get("_content") ?? state.entries.get("_val");
}
