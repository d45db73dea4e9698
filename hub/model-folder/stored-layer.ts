// The linear layers of a model as its file stores them: names and shapes, checked by the rules of docs/format.md,
// without values. Opens dense layers and layers in any structure but GBLR, whose two forms are in gblr-layer.ts.
// find-layers.ts finds the layers of a file.

import { toFloat32 } from "../safetensors/index.ts";
import type { LayerConfig } from "./gblr-config.ts";
import type { PackedLayer, TrainableLayer } from "./gblr-layer.ts";
import { expectBias, expectTensor, geometryOf, type Layer, type LayerPlace, problemOf } from "./layer-tensors.ts";
import { brokenRule, STORED_DENSE, type StoredStructure } from "./structures.ts";

/** A stored layer that is dense or has any structure except GBLR. */
export interface PlainLayer extends Layer {
  readSpans?: never;
  readStructure?: never;
}

/** A stored layer in any form. */
export type StoredLayer = PlainLayer | PackedLayer | TrainableLayer;

const nothingToRead = async () => {};

/**
 * Opens a layer in any structure except GBLR. Checks its tensors by the rules of the structure and config.json.
 * @param settings settings of the layer in config.json; undefined for a file without config.json
 * @throws ModelError when a tensor is missing, has a wrong shape, or does not fit the others
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
    // A file without config.json can be from any program. Half precision does not have all indices.
    const isIndex = structure.permutations?.includes(part) === true;
    const found = expectTensor(place, part, { shape, dtypes: settings && (isIndex ? ["F32"] : settings.types) });
    for (const [axis, size] of names.entries()) sizes.set(size, found[axis] as number);
    shapes[part] = found;
  }
  const product = inputSizes.reduce((n, size) => n * (sizes.get(size) ?? 0), 1);
  // If no shape has n_in or n_out, they are taken from config.json.
  const nIn = sizes.get("n_in") ?? (inputSizes.length > 0 ? product : (settings?.nIn ?? 0));
  const nOut = sizes.get("n_out") ?? settings?.nOut ?? 0;
  expectBias(place, nOut);
  if (nIn * nOut === 0) throw problemOf(place, `n_in and n_out must be at least 1, are ${nIn} and ${nOut}`);
  const broken = brokenRule(structure, { ...Object.fromEntries(sizes), n_in: nIn, n_out: nOut });
  if (broken !== undefined) throw problemOf(place, `${broken}, by the shapes of ${Object.keys(parts).join(", ")}`);
  expectKernel(place, structure, { sizes, kernel: settings?.kernel });
  const readPart = async (part: string) => toFloat32(await place.tensors.read(`${place.layer}.${part}`));
  return {
    ...{ name: place.layer, structure: name, isNamed: settings !== undefined, shapes, nIn, nOut, buffers: [] },
    ...geometryOf(settings),
    readPart,
    check: async () => {
      for (const part of structure.permutations ?? []) expectPermutation(place, part, await readPart(part));
    },
  };
}

/** @throws ModelError unless the values are the numbers 0 … n − 1, each once */
function expectPermutation(place: LayerPlace, part: string, values: Float32Array): void {
  if (values.toSorted().every((value, i) => value === i)) return;
  throw problemOf(place, `${part} must have each of the numbers 0 … ${values.length - 1} once`);
}

interface Kernel {
  sizes: ReadonlyMap<string, number>;
  kernel: LayerConfig["kernel"];
}

function expectKernel(place: LayerPlace, { kernel: own }: StoredStructure, { sizes, kernel }: Kernel): void {
  if (!own || !kernel) return;
  const [rows, columns] = own.sizes.map((size) => sizes.get(size));
  if (rows === kernel[0] && columns === kernel[1]) return;
  throw problemOf(place, `${own.part} has a kernel of ${rows} × ${columns}, config.json says ${kernel.join(" × ")}`);
}

/**
 * Opens a dense layer with a weight (n_out, n_in, …). GPT-2's weights are (n_in, n_out) instead; they are recognized by
 * the length of the bias.
 */
export function denseLayer({ layer, tensors }: LayerPlace, shape: readonly number[]): PlainLayer {
  const [first, ...others] = shape as [number, ...number[]];
  const rest = others.reduce((product, side) => product * side, 1);
  const bias = tensors.tensors.get(`${layer}.bias`)?.shape[0];
  const isTransposed = shape.length === 2 && bias === rest && bias !== first;
  const [nIn, nOut] = isTransposed ? [first, rest] : [rest, first];
  return {
    ...{ name: layer, nIn, nOut, structure: STORED_DENSE.name, isNamed: true, buffers: [] },
    shapes: { weight: shape },
    check: nothingToRead,
  };
}
