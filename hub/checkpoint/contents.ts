// What a checkpoint's value comes to: its tensors by name, and everything else as JSON. A `state_dict` at the top is what
// the tensors are taken from; without one, all that are nested in dictionaries, lists and modules are, their keys joined by
// dots.

import type { Fail } from "../files/byte-source.ts";
import { CheckpointError } from "./errors.ts";
import { CLASS_KEY, type Json, JsonWriter, keyText } from "./json.ts";
import { isModule, type Module, partsOfModule } from "./module-tensors.ts";
import { Dict, itemsOf, type PickleValue, TensorView } from "./pickle-values.ts";
import type { Storage } from "./storage.ts";
import { type LocatedTensor, locateTensor } from "./tensor-view.ts";

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
