// The messages of an ONNX file. The numbers are those of the fields in onnx.proto (github.com/onnx/onnx).

import { bitsOf, type TensorSource } from "../../../hub/safetensors/index.ts";
import {
  type Attribute,
  type Graph,
  type GraphNode,
  type Side,
  TYPES,
  type ValueInfo,
  type ValueType,
} from "./graph.ts";
import { Message } from "./protobuf.ts";

/** The version of the standard operators. onnxruntime has them since 1.12. */
export const OPSET = 17;
/** The version of the file format that came with these operators. */
const IR_VERSION = 8;

/** AttributeProto.AttributeType */
const KINDS = { float: 1, int: 2, string: 3, tensor: 4, ints: 7 };
/** TensorProto.DataLocation */
const EXTERNAL = 1;

/** Where the bytes of a tensor are in a file beside the graph. */
export interface ExternalPlace {
  /** name of the file, in the folder of the graph */
  location: string;
  offset: number;
  length: number;
}

/** What an ONNX file says of itself. */
export interface FileFacts {
  /** name of the graph */
  name: string;
  producer: { name: string; version: string };
  /** further facts by key */
  metadata: Readonly<Record<string, string>>;
}

/**
 * A graph as a ModelProto.
 * @param places tensors whose bytes are in another file. Default: all are in this one
 */
export function encodeModel(
  graph: Graph,
  { name, producer, metadata }: FileFacts,
  places: ReadonlyMap<string, ExternalPlace> = new Map(),
): Message {
  const body = new Message()
    .messages(1, graph.nodes, nodeMessage)
    .string(2, name)
    .messages(5, graph.initializers.values(), (source) => tensorMessage(source, places.get(source.name)))
    .messages(11, graph.inputs, valueMessage)
    .messages(12, graph.outputs, valueMessage);
  return new Message()
    .int(1, IR_VERSION)
    .string(2, producer.name)
    .string(3, producer.version)
    .message(7, body)
    .message(8, new Message().string(1, "").int(2, OPSET))
    .messages(14, Object.entries(metadata), pairMessage);
}

/** The bytes that a tensor takes. */
export const byteLengthOf = ({ dtype, shape }: TensorSource): number =>
  (bitsOf(dtype) / 8) * shape.reduce((size, side) => size * side, 1);

function nodeMessage({ name, type, inputs, outputs, attributes }: GraphNode): Message {
  const node = new Message();
  for (const input of inputs) node.string(1, input);
  for (const output of outputs) node.string(2, output);
  return node.string(3, name).string(4, type).messages(5, Object.entries(attributes), attributeMessage);
}

function attributeMessage([name, value]: [string, Attribute]): Message {
  const attribute = new Message().string(1, name);
  if (typeof value === "number") return attribute.int(3, value).int(20, KINDS.int);
  if (typeof value === "string") return attribute.string(4, value).int(20, KINDS.string);
  if ("float" in value) return attribute.float(2, value.float).int(20, KINDS.float);
  if ("tensor" in value) return attribute.message(5, tensorMessage(value.tensor)).int(20, KINDS.tensor);
  for (const each of value) attribute.int(8, each);
  return attribute.int(20, KINDS.ints);
}

function tensorMessage(source: TensorSource, place?: ExternalPlace): Message {
  const { name, dtype, shape, data } = source;
  const tensor = new Message();
  for (const side of shape) tensor.int(1, side);
  tensor.int(2, TYPES[dtype as ValueType]).string(8, name);
  if (place) return tensor.messages(13, Object.entries(place), pairMessage).int(14, EXTERNAL);
  if (typeof data === "function") return tensor.stream(9, { source, byteLength: byteLengthOf(source) });
  return tensor.bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

const pairMessage = ([key, value]: [string, string | number]): Message =>
  new Message().string(1, key).string(2, String(value));

function valueMessage({ name, type, shape }: ValueInfo): Message {
  const sides = new Message().messages(1, shape, sideMessage);
  const tensor = new Message().int(1, TYPES[type]).message(2, sides);
  return new Message().string(1, name).message(2, new Message().message(1, tensor));
}

const sideMessage = (side: Side): Message =>
  typeof side === "number" ? new Message().int(1, side) : new Message().string(2, side);
