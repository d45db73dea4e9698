// Writes GGUF files byte by byte, from the specification (ggml-org/ggml, docs/gguf.md), valid ones and others.

import { writeFileSync } from "node:fs";

/** A metadata value with its type: [type number, bytes]. */
export type Value = readonly [type: number, bytes: Uint8Array];

const join = (parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.concat(parts));

export function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function uint64(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return bytes;
}

export const float32 = (value: number): Uint8Array => new Uint8Array(Float32Array.of(value).buffer);

export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return join([uint64(bytes.length), bytes]);
}

export const u32 = (value: number): Value => [4, uint32(value)];
export const f32 = (value: number): Value => [6, float32(value)];
export const flag = (value: boolean): Value => [7, Uint8Array.of(Number(value))];
export const str = (value: string): Value => [8, text(value)];
export const list = (type: number, items: readonly Uint8Array[]): Value => [
  9,
  join([uint32(type), uint64(items.length), ...items]),
];
export const strings = (values: readonly string[]): Value => list(8, values.map(text));
export const ints = (values: readonly number[]): Value => list(5, values.map(uint32));
export const floats = (values: readonly number[]): Value => list(6, values.map(float32));

export interface TensorSpec {
  name: string;
  /** as stored: the fastest dimension first */
  dims: readonly (number | bigint)[];
  /** default F32 */
  type?: number;
  /** position in the data. Default: after the tensors before it */
  offset?: number | bigint;
  data?: Uint8Array;
}

export interface Spec {
  magic?: string;
  version?: Uint8Array;
  tensorCount?: Uint8Array;
  entryCount?: Uint8Array;
  metadata: readonly (readonly [key: string, value: Value])[];
  tensors?: readonly TensorSpec[];
  alignment?: number;
}

const padded = (bytes: Uint8Array, alignment: number): Uint8Array =>
  join([bytes, new Uint8Array((alignment - (bytes.length % alignment)) % alignment)]);

/** The bytes of a file. */
export function gguf({ metadata, tensors = [], alignment = 32, ...head }: Spec): Uint8Array {
  const data: Uint8Array[] = [];
  let end = 0;
  const infos = tensors.map(({ name, dims, type = 0, offset, data: bytes = zeros(dims) }) => {
    const at = offset ?? end;
    data.push(padded(bytes, alignment));
    end += (data.at(-1) as Uint8Array).length;
    return join([text(name), uint32(dims.length), ...dims.map(uint64), uint32(type), uint64(at)]);
  });
  const header = join([
    new TextEncoder().encode(head.magic ?? "GGUF"),
    head.version ?? uint32(3),
    head.tensorCount ?? uint64(tensors.length),
    head.entryCount ?? uint64(metadata.length),
    ...metadata.flatMap(([key, [type, bytes]]) => [text(key), uint32(type), bytes]),
    ...infos,
  ]);
  return join([padded(header, alignment), ...data]);
}

const zeros = (dims: readonly (number | bigint)[]): Uint8Array =>
  new Uint8Array(Math.min(4 * dims.reduce((size: number, side) => size * Number(side), 1), 2 ** 16));

/** Writes a file. @returns its path */
export function writeGguf(path: string, spec: Spec): string {
  writeFileSync(path, gguf(spec));
  return path;
}

const WIDTH = 32;
const TOKENS = ["<|end|>", ..."abcdefghijklmnopqrstuvwxyz", "Ġ", "ab", "abc", "Ġa"];

/** A whole model with one block, of architecture llama; its values are 0.01, 0.02 … */
export function smallLlama(): Spec & { tensors: TensorSpec[] } {
  let next = 0;
  const tensor = (name: string, ...dims: number[]): TensorSpec => {
    const count = dims.reduce((size, side) => size * side, 1);
    const values = Float32Array.from({ length: count }, () => (next++ % 100) / 100);
    return { name, dims, data: new Uint8Array(values.buffer) };
  };
  return {
    metadata: [
      ["general.architecture", str("llama")],
      ["general.name", str("small")],
      ["general.license", str("mit")],
      ["llama.block_count", u32(1)],
      ["llama.context_length", u32(64)],
      ["llama.embedding_length", u32(WIDTH)],
      ["llama.feed_forward_length", u32(48)],
      ["llama.attention.head_count", u32(4)],
      ["llama.attention.head_count_kv", u32(2)],
      ["llama.attention.layer_norm_rms_epsilon", f32(1e-5)],
      ["tokenizer.ggml.model", str("gpt2")],
      ["tokenizer.ggml.pre", str("gpt-2")],
      ["tokenizer.ggml.tokens", strings(TOKENS)],
      ["tokenizer.ggml.token_type", ints(TOKENS.map((_, id) => (id === 0 ? 3 : 1)))],
      ["tokenizer.ggml.merges", strings(["a b", "ab c", "Ġ a"])],
      ["tokenizer.ggml.eos_token_id", u32(0)],
      ["tokenizer.chat_template", str("{{ messages[0].content }}")],
    ],
    tensors: [
      tensor("token_embd.weight", WIDTH, 32),
      tensor("output_norm.weight", WIDTH),
      tensor("blk.0.attn_norm.weight", WIDTH),
      tensor("blk.0.attn_q.weight", WIDTH, WIDTH),
      tensor("blk.0.attn_k.weight", WIDTH, 16),
      tensor("blk.0.attn_v.weight", WIDTH, 16),
      tensor("blk.0.attn_output.weight", WIDTH, WIDTH),
      tensor("blk.0.ffn_norm.weight", WIDTH),
      tensor("blk.0.ffn_gate.weight", WIDTH, 48),
      tensor("blk.0.ffn_up.weight", WIDTH, 48),
      tensor("blk.0.ffn_down.weight", 48, WIDTH),
    ],
  };
}

/** The same file with other values of some keys; undefined removes a key. */
export function withMetadata<Base extends Spec>(
  spec: Base,
  changes: Readonly<Record<string, Value | undefined>>,
): Base {
  const kept = spec.metadata.filter(([key]) => !Object.hasOwn(changes, key));
  const added = Object.entries(changes).flatMap(([key, value]) => (value ? [[key, value] as const] : []));
  return { ...spec, metadata: [...kept, ...added] };
}

/** The same file with one tensor changed. */
export function withTensor<Base extends Spec>(spec: Base, name: string, change: Partial<TensorSpec>): Base {
  const tensors = (spec.tensors ?? []).map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor));
  return { ...spec, tensors };
}
