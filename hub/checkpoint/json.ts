// Unpickled values as plain JSON: what a checkpoint holds beside its tensors. Objects become their fields and the name of
// their class; nothing of them is built. Depth and size are bounded: a few bytes of pickle can mean endless JSON.

import type { Fail } from "../files/byte-source.ts";
import { isModule } from "./module-tensors.ts";
import { describeArray } from "./numpy-array.ts";
import { Dict, Global, Instance, itemsOf, type PickleValue, SetOf, StorageView, TensorView } from "./pickle-values.ts";

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
