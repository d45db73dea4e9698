// What a pickle is read as: plain data, names of globals, and records of objects that are never built. Python's lists
// are arrays here; what JavaScript has no word for is a class below. Nothing in these values can run.

import type { FileDtype } from "../safetensors/types.ts";

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Tuple
  | Dict
  | SetOf
  | Global
  | Instance
  | StorageView
  | TensorView;

export class Tuple {
  readonly items: readonly PickleValue[];
  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}

/** A dictionary, ordered as Python's are. Attributes set on one are not kept. */
export class Dict {
  readonly entries = new Map<PickleValue, PickleValue>();
}

export class SetOf {
  readonly items: PickleValue[];
  constructor(items: readonly PickleValue[] = []) {
    this.items = [...items];
  }
}

/** A name, as good as text: whatever Python has under it is neither here nor imported. */
export class Global {
  /** `module.name` */
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

/** The record of an object of a class that is not ours to build: what the pickle would have given it. */
export class Instance {
  readonly className: string;
  readonly args: readonly PickleValue[];
  /** what its __setstate__ or __dict__ would have got */
  state: PickleValue = null;
  /** appended, where the class is a list */
  readonly items: PickleValue[] = [];
  /** set, where the class is a dictionary */
  readonly entries = new Map<PickleValue, PickleValue>();
  constructor(className: string, args: readonly PickleValue[] = []) {
    this.className = className;
    this.args = args;
  }
}

/** Type of a storage's or tensor's elements; a name of PyTorch's where we have no such type; undefined for raw bytes. */
export type ElementType = { dtype: FileDtype } | { unsupported: string } | undefined;

/** A reference to a storage. Nothing about it has been checked. */
export interface StorageReference {
  key: string;
  element: ElementType;
  /** elements */
  length: number;
  /** elements before it in the storage that has the key; only legacy files have such views */
  offset: number;
}

export class StorageView implements StorageReference {
  readonly key: string;
  readonly element: ElementType;
  readonly length: number;
  readonly offset: number;
  constructor({ key, element, length, offset }: StorageReference) {
    this.key = key;
    this.element = element;
    this.length = length;
    this.offset = offset;
  }
}

/** A tensor as the pickle describes it. Nothing about it has been checked. */
export interface TensorDescription {
  storage: StorageView;
  element: ElementType;
  offset: PickleValue;
  shape: PickleValue;
  strides: PickleValue;
}

export class TensorView implements TensorDescription {
  readonly storage: StorageView;
  readonly element: ElementType;
  readonly offset: PickleValue;
  readonly shape: PickleValue;
  readonly strides: PickleValue;
  constructor({ storage, element, offset, shape, strides }: TensorDescription) {
    this.storage = storage;
    this.element = element;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** Items of a list or tuple. */
export function itemsOf(value: PickleValue | undefined): readonly PickleValue[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Tuple ? value.items : undefined;
}
