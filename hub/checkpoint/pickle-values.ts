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

const ARRAY = "numpy.ndarray";

/** `_reconstruct(subtype, shape, type)`: an empty array, whose real shape and type come as its state. */
export const emptyArray = (): Instance => new Instance(ARRAY);

/** The array of `_frombuffer(bytes, dtype, shape, order)`, as protocol 5 has it. */
export function arrayOfBytes([, dtype, shape]: readonly PickleValue[]): Instance | undefined {
  if (dtype === undefined || shape === undefined) return undefined;
  const array = new Instance(ARRAY);
  array.state = new Tuple([1, shape, dtype]);
  return array;
}

const DTYPE_NAMES: Readonly<Record<string, string>> = { f: "float", i: "int", u: "uint", c: "complex" };
const UNSIZED_NAMES: Readonly<Record<string, string>> = {
  b: "bool",
  O: "object",
  S: "bytes",
  U: "str",
  M: "datetime64",
  m: "timedelta64",
  V: "void",
};

/** `<array float64 [3]>`. @returns undefined for a record of anything else */
export function describeArray({ className, state }: Instance): string | undefined {
  if (className !== ARRAY) return undefined;
  const [, shape, dtype] = itemsOf(state) ?? [];
  return `<array ${dtypeName(dtype)} [${(itemsOf(shape) ?? ["?"]).map(String).join(", ")}]>`;
}

/** NumPy's own name of `numpy.dtype("f8")`; the code itself where it is none of the usual. */
function dtypeName(dtype: PickleValue | undefined): string {
  const code = dtype instanceof Instance ? dtype.args[0] : undefined;
  if (typeof code !== "string") return "?";
  const [, kind = "", bytes = ""] = /^[<>=|]?([a-zA-Z])(\d*)$/.exec(code) ?? [];
  const sized = DTYPE_NAMES[kind];
  return (sized === undefined ? UNSIZED_NAMES[kind] : `${sized}${8 * Number(bytes)}`) ?? code;
}

type Read = (view: DataView) => PickleValue;

const integer = (value: bigint) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

const SCALARS: Readonly<Record<string, { bytes: number; read: Read }>> = {
  f8: { bytes: 8, read: (view) => view.getFloat64(0, true) },
  f4: { bytes: 4, read: (view) => view.getFloat32(0, true) },
  i8: { bytes: 8, read: (view) => integer(view.getBigInt64(0, true)) },
  i4: { bytes: 4, read: (view) => view.getInt32(0, true) },
  i2: { bytes: 2, read: (view) => view.getInt16(0, true) },
  i1: { bytes: 1, read: (view) => view.getInt8(0) },
  u8: { bytes: 8, read: (view) => integer(view.getBigUint64(0, true)) },
  u4: { bytes: 4, read: (view) => view.getUint32(0, true) },
  u2: { bytes: 2, read: (view) => view.getUint16(0, true) },
  u1: { bytes: 1, read: (view) => view.getUint8(0) },
  b1: { bytes: 1, read: (view) => view.getUint8(0) !== 0 },
};

/**
 * The number of `numpy.core.multiarray.scalar(dtype, bytes)`, or a record where its type is none of the usual.
 * @returns undefined for arguments that the function does not take
 */
export function numpyScalar(args: readonly PickleValue[]): PickleValue | undefined {
  const [type, bytes] = args;
  if (!(type instanceof Instance) || type.className !== "numpy.dtype" || !(bytes instanceof Uint8Array))
    return undefined;
  const name = type.args[0];
  const kind = typeof name === "string" && Object.hasOwn(SCALARS, name) ? SCALARS[name] : undefined;
  const bigEndian = itemsOf(type.state)?.[1] === ">";
  if (!kind || bigEndian || kind.bytes !== bytes.byteLength) return new Instance("numpy.generic", args);
  return kind.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
