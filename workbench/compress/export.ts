// Exports a structured model: as a dense model, or with the tensor names and shapes of the authors' PyTorch
// implementation. Both have the matrices of evaluation mode, so dead blocks are not restored. No files are written
// here.

import { type Tensor, transpose } from "@tensorflow/tfjs-core";
import type { TensorSource } from "../../hub/safetensors/index.ts";
import { layersOf, namesOf, parametersOf } from "../architectures/architecture.ts";
import { ARCHITECTURES } from "../architectures/registry.ts";
import { EngineError } from "../engine/core/errors.ts";
import { denseWeight, joinConvolution, replaceLayer } from "../models/index.ts";
import type { LinearLayer, Model } from "../models/model.ts";
import { dense } from "../structures/dense.ts";
import type { ReferenceBlocks } from "../structures/structure.ts";

/**
 * Makes all layers dense, in place. The evaluation output stays the same up to rounding.
 * @returns names of the layers that were structured
 */
export function exportDense(model: Model): string[] {
  const structured = [...model.layers.values()].filter(({ structure }) => !structure.isDense);
  const { mode } = model.masks;
  // Blocks of one sample take part in training but not in evaluation.
  model.masks.mode = "eval";
  try {
    for (const { name } of structured) replaceLayer(model, name, dense, { weight: denseWeight(model, name) });
    // Convolutions that were split into positions become whole again.
    for (const info of layersOf(model.architecture, model.config)) {
      if (!model.layers.has(info.name)) joinConvolution(model, info);
    }
  } finally {
    if (mode === undefined) delete model.masks.mode;
    else model.masks.mode = mode;
  }
  return structured.map(({ name }) => name);
}

/**
 * The tensors of a GBLR model with the names and shapes of the authors' implementation, including buffers, as accepted
 * by its load_state_dict; in the model's order. Dead blocks of a layer that was loaded packed are zeros.
 * @throws EngineError when a layer is neither dense nor GBLR, or the reference does not have the architecture
 */
export async function referenceTensors(model: Model): Promise<TensorSource[]> {
  const { architecture, config } = model;
  const { reference, weights } = architecture;
  if (!reference || !weights) throw noReference(architecture.type);
  const { names, others } = reference;
  const { storedName: inCheckpoint } = namesOf(architecture);
  const storedName = (name: string) => {
    const stored = inCheckpoint(name, weights.prefix ?? "");
    return names?.toTheirs(stored) ?? stored;
  };
  const known = new Map(layersOf(architecture, config).map((layer) => [layer.name, layer]));
  const infos = parametersOf(architecture, config);
  const sources: TensorSource[] = [];
  const add = async (name: string, tensor: Tensor) => sources.push(await sourceOf(storedName(name), tensor));
  const done = new Set<string>();
  for (const [name, variable] of model.parameters) {
    const owner = [...model.layers.values()].find(
      (layer) => name.startsWith(`${layer.name}.`) && name !== `${layer.name}.bias`,
    );
    if (owner?.structure.isDense && owner.position) {
      const problem = `the reference's kernels are GBLR at all positions or none, ${owner.name} is dense`;
      throw new EngineError(problem, "export dense");
    }
    if (owner === undefined || owner.structure.isDense) {
      const turned = owner !== undefined && owner.layout !== known.get(owner.name)?.layout;
      const axes = infos.get(name)?.kernel ? [3, 2, 0, 1] : turned ? [1, 0] : undefined;
      await (axes ? addTurned(name, { tensor: variable, axes, add }) : add(name, variable));
    } else if (!done.has(owner.name)) {
      done.add(owner.name);
      const { parameters, isCopy, sigma } = await blocksOf(model, owner);
      for (const [part, tensor] of Object.entries(parameters)) {
        await add(`${owner.name}.${part}`, tensor);
        if (isCopy) tensor.dispose();
      }
      for (const source of bufferSources(owner, sigma)) sources.push({ ...source, name: storedName(source.name) });
    }
  }
  return [...sources, ...((await others?.(model, infos)) ?? [])];
}

function noReference(type: string): EngineError {
  const known = ARCHITECTURES.filter(({ reference }) => reference).map((each) => each.type);
  return new EngineError(
    `the reference's names are known for ${known.join(", ")}, the model is ${type}`,
    "export dense",
  );
}

/** A tensor to store with permuted axes. */
interface Turned {
  tensor: Tensor;
  axes: number[];
  add: (name: string, tensor: Tensor) => Promise<unknown>;
}

async function addTurned(name: string, { tensor, axes, add }: Turned): Promise<void> {
  const turned = transpose(tensor, axes);
  await add(name, turned);
  turned.dispose();
}

async function sourceOf(name: string, tensor: Tensor): Promise<TensorSource> {
  return { name, dtype: "F32", shape: tensor.shape, data: (await tensor.data()) as Float32Array };
}

function blocksOf(model: Model, { name, structure, nIn, nOut }: LinearLayer): Promise<ReferenceBlocks> {
  if (structure.toReference) return structure.toReference(model.structureParameters(name), { nIn, nOut });
  throw new EngineError(
    `the reference's checkpoints hold GBLR and dense layers, ${name} is ${structure.name}`,
    "export dense",
  );
}

/**
 * Buffers of the reference's layers: the smoothness and the frequencies of masks. σ is infinite if there is no
 * Gaussian.
 */
function bufferSources({ name, nIn, nOut }: LinearLayer, sigma = Number.POSITIVE_INFINITY): TensorSource[] {
  const frequencies = (n: number) => Float32Array.from({ length: Math.floor(n / 2) + 1 }, (_, f) => f);
  const [input, output] = [frequencies(nIn), frequencies(nOut)];
  return [
    { name: `${name}.sigma`, dtype: "F32", shape: [], data: Float32Array.of(sigma) },
    { name: `${name}.freq_in`, dtype: "F32", shape: [input.length], data: input },
    { name: `${name}.freq_out`, dtype: "F32", shape: [output.length], data: output },
  ];
}
