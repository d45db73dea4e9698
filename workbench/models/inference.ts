// Creates the form of a model that is fastest in inference, in which each layer has the fastest form of its structure.
// GBLR layers contain live blocks only; dense layers are not changed.

import { type Tensor, type Tensor2D, tidy, type Variable } from "@tensorflow/tfjs-core";
import type { ConvolutionInfo } from "../architectures/network.ts";
import { kernelOf, kernelOfPositions } from "../structures/convolution.ts";
import { dense } from "../structures/dense.ts";
import { formChoices } from "../structures/inference/choice.ts";
import type { Rows } from "../structures/inference/kept-forms.ts";
import type { StructureParameters } from "../structures/structure.ts";
import { type LinearLayer, Model } from "./model.ts";
import { replaceEntries, rowByRow, variableOf } from "./variables.ts";

/** Options of `forInference`. */
export interface InferenceOptions {
  /** typical number of rows of products: `many` in evaluation, `few` for generation token by token. Default `many` */
  rows?: Rows;
}

/**
 * A view of the model for inference. Unchanged layers share the parameters of the model, which must outlive the view.
 * The caller disposes of the view. Later changes of GBLR layers do not affect it.
 */
export async function forInference<Config>(
  model: Model<Config>,
  { rows = "many" }: InferenceOptions = {},
): Promise<Model<Config>> {
  const parameters = new Map<string, Variable>(model.parameters);
  const layers = new Map<string, LinearLayer>(model.layers);
  const own = new Map<string, Variable>();
  try {
    for (const layer of model.layers.values()) {
      if (layer.position && layer.position.index > 0) continue;
      const replaced = layer.position ? model.positionsOf(layer.position.of) : [layer];
      const held = layer.position ? joinedForm(model, replaced) : await inferenceForm(model, layer, rows);
      if (!held) continue;
      const { layer: info, parameters: added } = held;
      const taken = info.structure.parameterNames.map((part) => {
        const variable = variableOf(added[part] as Tensor, { trainable: false });
        return [`${info.name}.${part}`, variable] as const;
      });
      for (const [name, variable] of taken) own.set(name, variable);
      replaceEntries(parameters, replaced.flatMap(parameterNames), taken);
      const names = replaced.map(({ name }) => name);
      replaceEntries<LinearLayer>(layers, names, [[info.name, info]]);
    }
  } catch (error) {
    for (const variable of own.values()) variable.dispose();
    throw error;
  }
  const borrowed = [...parameters.keys()].filter((name) => !own.has(name));
  const { architecture, config, json, prefix, preprocessor } = model;
  return new Model({
    architecture,
    config,
    json,
    parameters,
    layers,
    prefix,
    preprocessor,
    borrowed,
    masks: { ...model.masks, mode: "eval" },
  });
}

const parameterNames = ({ name, structure }: LinearLayer): string[] =>
  structure.parameterNames.map((part) => `${name}.${part}`);

/** A layer of the view and its parameters. */
interface InferenceLayer {
  layer: LinearLayer;
  parameters: StructureParameters;
}

/** The fastest form of a layer; undefined if its structure has only one form. */
async function inferenceForm<Config>(
  model: Model<Config>,
  layer: LinearLayer,
  rows: Rows,
): Promise<InferenceLayer | undefined> {
  const { structure, convolution, name, nIn, nOut } = layer;
  const question = { nIn, nOut, rows, isConvolution: convolution !== undefined };
  const held = await structure.withForms?.(model.structureParameters(name), (forms) =>
    formChoices.choose(forms, question),
  );
  if (!held) return undefined;
  if (!held.structure.isDense || !convolution) {
    return { layer: { ...layer, structure: held.structure, layout: "out_in" }, parameters: held.parameters };
  }
  return { layer: { ...layer, structure: dense }, parameters: { weight: kernelTaken(held.parameters, convolution) } };
}

/** Converts a matrix to a kernel and disposes of the matrix. */
function kernelTaken({ weight }: StructureParameters, convolution: ConvolutionInfo): Tensor {
  const kernel = rowByRow(kernelOf(weight as Tensor2D, convolution));
  weight?.dispose();
  return kernel;
}

/** Joins the positions of a convolution to one kernel. */
function joinedForm<Config>(model: Model<Config>, positions: readonly LinearLayer[]): InferenceLayer {
  const [{ position, nIn, nOut, rows }] = positions as readonly [LinearLayer];
  const { of: name, convolution } = position as NonNullable<LinearLayer["position"]>;
  const kernel = tidy(() => {
    const matrices = positions.map(({ name: own, structure }) => {
      const parameters = model.structureParameters(own);
      return structure.denseInEvaluation?.(parameters) ?? structure.dense(parameters);
    });
    return kernelOfPositions(matrices, convolution);
  });
  const sizes = { nIn: positions.length * nIn, nOut, rows };
  const layer = { name, ...sizes, layout: "in_out", convolution, structure: dense } as const;
  return { layer, parameters: { weight: rowByRow(kernel) } };
}
