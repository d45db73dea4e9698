// The linear layers of a model as its file holds them: names and shapes, held to the rules of docs/format.md, no values.
// Which layers there are is in find-layers.ts; what they cost is for others to count. GBLR's two forms: gblr-layer.ts.

import { FileError } from "../files/file-error.ts";
import type { TensorFile, TensorInfo } from "../safetensors/index.ts";
import type { LayerConfig } from "./gblr-config.ts";
import type { PackedLayer, TrainableLayer } from "./gblr-layer.ts";
import { brokenRule, STORED_DENSE, type StoredStructure } from "./structures.ts";

/** A model that is not there, is no model, or contradicts itself. */
export class ModelError extends FileError {
  override readonly name = "ModelError";
}

/** W (n_out, n_in); convolutions have n_in = rows · columns · channels. */
export interface Layer {
  name: string;
  nIn: number;
  nOut: number;
  /** as structures.ts names it */
  structure: string;
  /** whether config.json names the structure; if not it is the one that such tensors are most likely of */
  isNamed: boolean;
  /** of its parameters, by name */
  shapes: Readonly<Record<string, readonly number[]>>;
  /** what the file may hold beside the parameters and the bias, and what says nothing more */
  buffers: readonly string[];
  /** what config.json says of a convolution: rows and columns; a linear layer has neither of the two */
  kernel?: readonly [number, number];
  /** it matters to what parameters cost */
  stride?: number;
  /**
   * Reads what products would follow as indices, and holds it to the rules. Factors and values, which may be any numbers,
   * are not read. What has been read is not read again.
   * @throws ModelError
   */
  check(): Promise<void>;
}

/** A layer whose parameters are all that its file holds of it: dense, or in any structure but GBLR. */
export interface PlainLayer extends Layer {
  readSpans?: never;
  readStructure?: never;
}

/** A layer as it is stored, in one of its forms. */
export type StoredLayer = PlainLayer | PackedLayer | TrainableLayer;

/** One layer in an open file. */
export interface LayerPlace {
  layer: string;
  file: string;
  tensors: TensorFile;
}

interface Expected {
  /** numbers must be met, names stand for any length */
  shape: readonly (number | string)[];
  /** only this type; default any type of real numbers */
  dtype?: TensorInfo["dtype"];
  /** where the numbers come from, for the error */
  why?: string;
}

const REAL = new Set(["F64", "F32", "F16", "BF16"]);
const QUANTIZED = new Set(["F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"]);

/** Whether it can be a weight: of real numbers, also of those whose values are not read here but which cost the same. */
export const isWeight = ({ dtype }: TensorInfo): boolean => REAL.has(dtype) || QUANTIZED.has(dtype);

/** @throws ModelError such as `layer "fc1": widths must be (2, 48), is F32 (2, 40)` */
export function expectTensor(place: LayerPlace, part: string, { shape, dtype, why = "" }: Expected): readonly number[] {
  const info = place.tensors.tensors.get(`${place.layer}.${part}`);
  const wanted = `${dtype ? `${dtype} ` : ""}(${shape.join(", ")})`;
  if (!info) throw problemOf(place, `${part} ${wanted} is missing`);
  const fits =
    info.shape.length === shape.length &&
    shape.every((length, axis) => typeof length === "string" || length === info.shape[axis]) &&
    (dtype === undefined ? REAL.has(info.dtype) : info.dtype === dtype);
  if (!fits) throw problemOf(place, `${part} must be ${wanted}${why}, is ${info.dtype} (${info.shape.join(", ")})`);
  return info.shape;
}

/** @throws ModelError when there is a bias and it does not fit */
export function expectBias(place: LayerPlace, nOut: number): void {
  if (place.tensors.tensors.has(`${place.layer}.bias`)) expectTensor(place, "bias", { shape: [nOut] });
}

/** Reads on the first call; the same values, or the same error, come again after it. */
export function onlyOnce<T>(read: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  return () => {
    found ??= read();
    return found;
  };
}

export function problemOf({ file, layer }: LayerPlace, problem: string): ModelError {
  return new ModelError(problem, { file, layer });
}

/** What config.json says of a layer's convolution. */
export const geometryOf = ({ kernel, stride }: Partial<LayerConfig> = {}) => ({
  ...(kernel && { kernel }),
  ...(stride !== undefined && { stride }),
});

const nothingToRead = async () => {};

/**
 * A layer in any structure but GBLR: its tensors held to the structure's rules and to config.json.
 * @param settings of the layer in config.json; undefined for a lone file
 * @throws ModelError when a tensor is missing, or misshapen, or does not fit the others
 */
export function plainLayer(
  place: LayerPlace,
  structure: StoredStructure,
  settings: LayerConfig | undefined,
): PlainLayer {
  const { name, parts = {}, inputSizes = [] } = structure;
  const shapes: Record<string, readonly number[]> = {};
  const sizes = new Map<string, number>();
  for (const [part, names] of Object.entries(parts)) {
    const shape = names.map((size) => sizes.get(size) ?? size);
    // A lone file may be of any program's; in a folder of ours all of a structured layer is F32.
    const found = expectTensor(place, part, { shape, ...(settings && { dtype: "F32" }) });
    for (const [axis, size] of names.entries()) sizes.set(size, found[axis] as number);
    shapes[part] = found;
  }
  const product = inputSizes.reduce((n, size) => n * (sizes.get(size) ?? 0), 1);
  // A structure whose shapes do not have them leaves its sizes to config.json.
  const nIn = sizes.get("n_in") ?? (inputSizes.length > 0 ? product : (settings?.nIn ?? 0));
  const nOut = sizes.get("n_out") ?? settings?.nOut ?? 0;
  expectBias(place, nOut);
  if (nIn * nOut === 0) throw problemOf(place, `n_in and n_out must be at least 1, are ${nIn} and ${nOut}`);
  const broken = brokenRule(structure, { ...Object.fromEntries(sizes), n_in: nIn, n_out: nOut });
  if (broken !== undefined) throw problemOf(place, `${broken}, by the shapes of ${Object.keys(parts).join(", ")}`);
  expectKernel(place, structure, { sizes, kernel: settings?.kernel });
  return {
    ...{ name: place.layer, structure: name, isNamed: settings !== undefined, shapes, nIn, nOut, buffers: [] },
    ...geometryOf(settings),
    check: nothingToRead,
  };
}

interface Kernel {
  sizes: ReadonlyMap<string, number>;
  kernel: LayerConfig["kernel"];
}

function expectKernel(place: LayerPlace, { kernel: own }: StoredStructure, { sizes, kernel }: Kernel): void {
  if (!own || !kernel) return;
  const [rows, columns] = own.sizes.map((size) => sizes.get(size));
  if (rows === kernel[0] && columns === kernel[1]) return;
  throw problemOf(place, `${own.part} is of ${rows} × ${columns}, config.json says kernel: ${kernel.join(" × ")}`);
}

/** GPT-2's files hold (n_in, n_out), as its convolutions of width 1 do; the bias tells which side is which. */
export function denseLayer({ layer, tensors }: LayerPlace, shape: readonly number[]): PlainLayer {
  const [first, ...others] = shape as [number, ...number[]];
  const rest = others.reduce((product, side) => product * side, 1);
  const bias = tensors.tensors.get(`${layer}.bias`)?.shape[0];
  const isTurned = shape.length === 2 && bias === rest && bias !== first;
  const [nIn, nOut] = isTurned ? [first, rest] : [rest, first];
  return {
    ...{ name: layer, nIn, nOut, structure: STORED_DENSE.name, isNamed: true, buffers: [] },
    shapes: { weight: shape },
    check: nothingToRead,
  };
}
