// An ONNX graph under construction: nodes in the order in which they run, the tensors of weights, small constants, and
// the values that go in and out. Values are known by name. encode.ts turns a graph into bytes.

import type { TensorSource } from "../../../hub/safetensors/index.ts";

/** The name of a value in the graph. */
export type Value = string;

/** Number types of values, by their names in safetensors files. */
export type ValueType = "F32" | "F16" | "BF16" | "I64" | "I32" | "BOOL";

/** The numbers of types in ONNX files (TensorProto.DataType), which casts have too. */
export const TYPES: Readonly<Record<ValueType, number>> = { F32: 1, I32: 6, I64: 7, BOOL: 9, F16: 10, BF16: 16 };

/** A side of a tensor: its length, or a name if the length is known only when the graph runs. */
export type Side = number | string;

/** A value that goes into or out of the graph. */
export interface ValueInfo {
  name: Value;
  type: ValueType;
  shape: readonly Side[];
}

/** An attribute of a node. Numbers and lists of numbers are integers; `float` makes others. */
export type Attribute = number | readonly number[] | string | { float: number } | { tensor: TensorSource };

/** An attribute that is not an integer. */
export const float = (value: number): Attribute => ({ float: value });

/** A node. Left out optional inputs are empty names. */
export interface GraphNode {
  name: string;
  type: string;
  inputs: readonly Value[];
  outputs: readonly Value[];
  attributes: Readonly<Record<string, Attribute>>;
}

type Attributes = Readonly<Record<string, Attribute>>;

/** A graph under construction. */
export class Graph {
  readonly inputs: ValueInfo[] = [];
  readonly outputs: ValueInfo[] = [];
  readonly initializers = new Map<Value, TensorSource>();
  private readonly made: GraphNode[] = [];
  private readonly counts = new Map<string, number>();
  private readonly renamed = new Map<Value, Value>();
  private readonly weightValues = new Map<string, Value>();
  private readonly stored: (source: TensorSource) => TensorSource;
  private scope = "";

  /** @param stored the number type in which weights are stored; they are float32 at load. Default: their own */
  constructor(stored: (source: TensorSource) => TensorSource = (source) => source) {
    this.stored = stored;
  }

  /** The nodes, in the order in which they run. */
  get nodes(): GraphNode[] {
    const named = (value: Value) => this.renamed.get(value) ?? value;
    return this.made.map((node) => ({ ...node, inputs: node.inputs.map(named), outputs: node.outputs.map(named) }));
  }

  /** Names the nodes that `make` adds after a part of the network. */
  within<Result>(scope: string, make: () => Result): Result {
    const outer = this.scope;
    this.scope = `${outer}/${scope}`;
    try {
      return make();
    } finally {
      this.scope = outer;
    }
  }

  /** Adds an input of the graph. */
  input(name: Value, type: ValueType, shape: readonly Side[]): Value {
    this.inputs.push({ name, type, shape });
    return name;
  }

  /** Makes the result of a node an output of the graph, under this name. */
  output(name: Value, value: Value, { type, shape }: Omit<ValueInfo, "name">): void {
    this.renamed.set(value, name);
    this.outputs.push({ name, type, shape });
  }

  /** Adds a node with one output. @param type of the operator, e.g. `MatMul` */
  op(type: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.ops(type, inputs, attributes, 1)[0] as Value;
  }

  /** Adds a node with several outputs. */
  ops(type: string, inputs: readonly Value[], attributes: Attributes, outputs: number): Value[] {
    const base = `${this.scope}/${type}`;
    const count = this.counts.get(base) ?? 0;
    this.counts.set(base, count + 1);
    const name = count === 0 ? base : `${base}_${count}`;
    const values = Array.from({ length: outputs }, (_, i) => `${name}:${i}`);
    this.made.push({ name, type, inputs, outputs: values, attributes });
    return values;
  }

  /** Adds a tensor whose bytes are read when the file is written. A tensor of this name is added once. */
  weights(source: TensorSource): Value {
    const known = this.knownWeights(source.name);
    if (known !== undefined) return known;
    const { name } = source;
    const stored = this.stored(source);
    this.initializers.set(name, stored);
    const value =
      stored.dtype === source.dtype ? name : this.op("Cast", [name], { to: TYPES[source.dtype as ValueType] });
    this.weightValues.set(name, value);
    return value;
  }

  /** The value of a tensor that was added before. */
  knownWeights(name: string): Value | undefined {
    return this.weightValues.get(name);
  }

  /** A list of integers, int64 (length). */
  ints(values: readonly number[]): Value {
    return this.constant(`ints_${values.join("_")}`, "I64", [values.length], BigInt64Array.from(values, BigInt));
  }

  /** An integer, int64 of rank 0. */
  int(value: number): Value {
    return this.constant(`int_${value}`, "I64", [], BigInt64Array.of(BigInt(value)));
  }

  /** A number, float32 of rank 0. */
  number(value: number): Value {
    return this.constant(`number_${value}`, "F32", [], Float32Array.of(value));
  }

  private constant(name: string, dtype: ValueType, shape: readonly number[], data: ArrayBufferView): Value {
    const value = `const/${name}`;
    this.initializers.set(value, { name: value, dtype, shape, data });
    return value;
  }
}
