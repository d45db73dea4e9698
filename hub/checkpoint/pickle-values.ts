// The values that a pickle is read into: plain data, names of globals, and records of objects that are never created.
// Python's lists are arrays; types that JavaScript lacks are the classes below. The values contain no code. NumPy's
// scalars become numbers. NumPy's arrays and random generators become records; array values are not read.

import type { FileDtype } from "../safetensors/types.ts";

/** Any value that a pickle can have. */
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

/** A tuple. */
export class Tuple {
  readonly items: readonly PickleValue[];
  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}

/** A dictionary, in Python's order. Attributes set on it are dropped. */
export class Dict {
  readonly entries = new Map<PickleValue, PickleValue>();
}

/** A set or frozenset. */
export class SetOf {
  readonly items: PickleValue[];
  constructor(items: readonly PickleValue[] = []) {
    this.items = [...items];
  }
}

/** The name of a Python global. It is only text: nothing is imported. */
export class Global {
  /** `module.name` */
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

/** The record of an object that is not created: its class and what the pickle passes to it. */
export class Instance {
  readonly className: string;
  readonly args: readonly PickleValue[];
  /** argument of __setstate__, or the new __dict__ */
  state: PickleValue = null;
  /** items appended, if the class is a list */
  readonly items: PickleValue[] = [];
  /** entries set, if the class is a dictionary */
  readonly entries = new Map<PickleValue, PickleValue>();
  constructor(className: string, args: readonly PickleValue[] = []) {
    this.className = className;
    this.args = args;
  }
}

/**
 * Type of the elements of a storage or tensor. `unsupported` is PyTorch's name of a type that safetensors does not
 * have; undefined means raw bytes.
 */
export type ElementType = { dtype: FileDtype } | { unsupported: string } | undefined;

/** A reference to a storage, not checked yet. */
export interface StorageReference {
  key: string;
  element: ElementType;
  /** number of elements */
  length: number;
  /** start of the view in the stored storage, in elements. Only legacy files have nonzero offsets */
  offset: number;
}

/** A storage or a part of one. */
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

/** A tensor as the pickle describes it, not checked yet. */
export interface TensorDescription {
  storage: StorageView;
  element: ElementType;
  offset: PickleValue;
  shape: PickleValue;
  strides: PickleValue;
}

/** A view of a storage as a tensor. */
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

/** Items of a list or tuple. Undefined for anything else. */
export function itemsOf(value: PickleValue | undefined): readonly PickleValue[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Tuple ? value.items : undefined;
}

/** Whether a value is a non-negative integer that JavaScript represents exactly, as sizes and offsets must be. */
export function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Whether an object with this state is a torch.nn.Module. */
export function isModuleState(state: PickleValue): state is Dict {
  return ["_parameters", "_modules"].every((part) => partOf(state, part) !== undefined);
}

/** Entries of the dictionary with this name in the state of a module. Undefined if there is none. */
export function partOf(state: PickleValue, name: string): ReadonlyMap<PickleValue, PickleValue> | undefined {
  const part = state instanceof Dict ? state.entries.get(name) : undefined;
  return part instanceof Dict ? part.entries : undefined;
}

const ARRAY = "numpy.ndarray";

/**
 * The result of NumPy's `_reconstruct(subtype, shape, type)`: an empty array. Its actual shape and type follow as its
 * state.
 */
export const emptyArray = (): Instance => new Instance(ARRAY);

/** The result of NumPy's `_frombuffer(bytes, dtype, shape, order)`, which protocol 5 uses. */
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

/** Describes an array by type and shape: `<array float64 [3]>`. Undefined for other records. */
export function describeArray({ className, state }: Instance): string | undefined {
  if (className !== ARRAY) return undefined;
  const [, shape, dtype] = itemsOf(state) ?? [];
  return `<array ${dtypeName(dtype)} [${(itemsOf(shape) ?? ["?"]).map(String).join(", ")}]>`;
}

/** NumPy's name of a type: `float64` for `numpy.dtype("f8")`. Unusual types keep their code. */
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
 * The number that `numpy.core.multiarray.scalar(dtype, bytes)` makes; a record if its type is unusual. Undefined for
 * arguments that the function does not accept.
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
