// What a family of architectures contributes to the import of a GGUF file: config.json from metadata, and for each
// tensor of the model its name in the file and how its rows are stored there. `layers` makes lists for all blocks.

import { quote } from "../files/file-error.ts";
import type { GgufFile, GgufTensor } from "./header.ts";
import { GgufError } from "./types.ts";

/** How the values of a tensor in the file become those of the model. */
export type Order =
  /** unchanged */
  | { kind: "same" }
  /** the rows of each head alternate between its two halves, which llama.cpp's rotary positions need */
  | { kind: "interleaved heads"; heads: number }
  /** a matrix is stored transposed */
  | { kind: "transposed" };

/** A tensor of the model. */
export interface ModelTensor {
  /** name in the GGUF file */
  stored: string;
  /** name in the model folder, as transformers writes it */
  name: string;
  /** shape in the model folder */
  shape: readonly number[];
  order: Order;
}

/** A model as config.json and tensors. */
export interface ModelPlan {
  /** content of config.json, without ids of tokens and `dtype` */
  config: Record<string, unknown>;
  tensors: ModelTensor[];
  /** names of tensors of the file that the config replaces */
  consumed?: readonly string[];
}

/** A family of architectures. */
export interface Family {
  /** values of general.architecture */
  readonly architectures: readonly string[];
  /**
   * Plans the model.
   * @throws GgufError for metadata that is missing, contradicts the tensors, or is not supported
   */
  plan(gguf: GgufFile, architecture: string): Promise<ModelPlan>;
}

export const SAME: Order = { kind: "same" };

/** A list made of one list for each block. */
export function layers<Item>(count: number, of: (layer: number) => Item[]): Item[] {
  return Array.from({ length: count }, (_, layer) => of(layer)).flat();
}

/**
 * Checks that the file has exactly the tensors of the plan, with their shapes.
 * @throws GgufError that names the tensor
 */
export function expectTensors({ file, tensors }: GgufFile, { tensors: wanted, consumed = [] }: ModelPlan): void {
  const left = new Set(tensors.keys());
  for (const name of consumed) left.delete(name);
  for (const { stored, shape, order } of wanted) {
    const found = tensorNamed({ file, tensors }, stored);
    const expected = order.kind === "transposed" ? [...shape].reverse() : shape;
    if (found.shape.length !== expected.length || found.shape.some((side, i) => side !== expected[i])) {
      const problem = `has shape [${found.shape.join(", ")}], but the metadata implies [${expected.join(", ")}]`;
      throw new GgufError(problem, { file, tensor: stored });
    }
    left.delete(stored);
  }
  const [unknown] = left;
  if (unknown !== undefined) {
    throw new GgufError("is not known for this architecture, so the model cannot be imported", {
      file,
      tensor: unknown,
    });
  }
}

/**
 * Checks that the metadata of an architecture has only known keys, because an unknown one can change what is computed.
 * @param known keys without the architecture's name in front
 * @throws GgufError that names the key
 */
export function expectKeys({ file, metadata }: GgufFile, architecture: string, known: ReadonlySet<string>): void {
  const prefix = `${architecture}.`;
  const unknown = [...metadata.keys()].find((key) => key.startsWith(prefix) && !known.has(key.slice(prefix.length)));
  if (unknown !== undefined) {
    throw new GgufError(`has ${quote(unknown)} in its metadata, which is not supported`, { file });
  }
}

/** The number of blocks, which cannot exceed that of the tensors. */
export function blockCount({ file, metadata, tensors }: GgufFile, architecture: string): number {
  const count = metadata.needCount(`${architecture}.block_count`);
  if (count >= 1 && count <= tensors.size) return count;
  throw new GgufError(`${architecture}.block_count is ${count}, but the file has ${tensors.size} tensors`, { file });
}

/** The sizes of a tensor. @throws GgufError if the file does not have it, or it is not a matrix */
export function matrixShape(gguf: GgufFile, name: string): readonly [number, number] {
  const { shape } = tensorNamed(gguf, name);
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2) {
    throw new GgufError(`must be a matrix, has shape [${shape.join(", ")}]`, { file: gguf.file, tensor: name });
  }
  return [rows, columns];
}

function tensorNamed({ file, tensors }: Pick<GgufFile, "file" | "tensors">, name: string): GgufTensor {
  const tensor = tensors.get(name);
  if (tensor) return tensor;
  throw new GgufError(`has no tensor ${quote(name)}, which the model needs`, { file });
}
