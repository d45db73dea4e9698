// Loads a model folder: config.json, then tensor by tensor straight into the engine. Which tensors a model needs is in
// stored-parameters.ts; names on the Hub are for the caller to bring to the disk.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import { reason } from "../../hub/byte-source.ts";
import {
  CONFIG_FILE,
  finishReplacing,
  ModelError,
  type OpenModel,
  openModel,
  openTrainable,
  TRAINABLE_FILE,
} from "../../hub/model-folder/index.ts";
import { toFloat32 } from "../../hub/safetensors/index.ts";
import type { Architecture } from "./architecture.ts";
import { Model } from "./model.ts";
import { architectureOfConfig } from "./registry.ts";
import { type StoredModel, type StoredParameter, storedParameters } from "./stored-parameters.ts";
import { variableFrom } from "./variables.ts";

export interface LoadOptions {
  /**
   * how GBLR layers are held: `packed` as inference wants them, `trainable` with all their parameters; `auto` takes the
   * packed form where there is one. Default `auto`
   */
  form?: "auto" | "trainable" | "packed";
}

export type LoadEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | { kind: "progress"; tensor: string; bytes: number }
  | { kind: "loaded"; model: Model };

/**
 * @param folder a model folder on the disk
 * @throws ModelError or SafetensorsError, one line: no model, an architecture that is not known, a tensor that is
 * missing, too much or misshapen, a form that is not there
 */
export async function* loadModel(folder: string, { form = "auto" }: LoadOptions = {}): AsyncGenerator<LoadEvent> {
  await finishReplacing(folder);
  const { json, architecture, config } = await readConfig(folder);
  const open = form === "trainable" ? await openTrainable(folder) : await openModel(folder);
  const parameters = new Map<string, Variable>();
  try {
    const stored = storedParameters(open, { architecture, config });
    expectForm(stored, { form, folder });
    const { tensors } = open.tensors;
    const bytesOf = ({ stored }: StoredParameter) => tensors.get(stored)?.byteLength ?? 0;
    const bytes = [...stored.parameters.values()].reduce((sum, parameter) => sum + bytesOf(parameter), 0);
    yield { kind: "opened", tensors: stored.parameters.size, bytes };
    for (const [name, parameter] of stored.parameters) {
      parameters.set(name, await readParameter(open, parameter));
      yield { kind: "progress", tensor: parameter.stored, bytes: bytesOf(parameter) };
    }
    const { layers, masks, prefix } = stored;
    yield { kind: "loaded", model: new Model({ architecture, config, json, parameters, layers, masks, prefix }) };
  } catch (error) {
    for (const variable of parameters.values()) variable.dispose();
    throw error;
  } finally {
    await open.tensors.close();
  }
}

/** The same without its events. */
export async function loadModelNow(folder: string, options: LoadOptions = {}): Promise<Model> {
  for await (const event of loadModel(folder, options)) {
    if (event.kind === "loaded") return event.model;
  }
  throw new ModelError("was not loaded to its end", { file: folder });
}

export interface ReadConfig {
  json: Record<string, unknown>;
  architecture: Architecture;
  config: unknown;
}

/** @throws ModelError when there is no config.json, or none of an architecture that is known */
export async function readConfig(folder: string): Promise<ReadConfig> {
  const file = join(folder, CONFIG_FILE);
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new ModelError(`cannot be opened: ${reason(error)}; a model folder has one`, { file }, { cause: error });
  });
  const json = parsed(text);
  if (json === undefined) throw new ModelError("is not a JSON object", { file });
  const architecture = architectureOfConfig(json, file);
  return { json, architecture, config: architecture.readConfig(json, file) };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function expectForm({ layers }: StoredModel, { form, folder }: { form: string; folder: string }): void {
  const has = (structure: string) => [...layers.values()].find((layer) => layer.structure.name === structure)?.name;
  const [packed, trainable] = [has("packed"), has("gblr")];
  if (form === "trainable" && packed !== undefined) {
    const problem = `is packed, which cannot be trained on; there is no ${TRAINABLE_FILE} with its parameters`;
    throw new ModelError(problem, { file: folder, layer: packed });
  }
  if (form === "packed" && trainable !== undefined) {
    throw new ModelError("is not packed; load it as trainable and save it", { file: folder, layer: trainable });
  }
}

async function readParameter(
  { tensors }: OpenModel,
  { stored, shape, dtype, trainable }: StoredParameter,
): Promise<Variable> {
  const tensor = await tensors.read(stored);
  const size = shape.reduce((product, side) => product * side, 1);
  if (dtype === "int32") return variableFrom(tensor.data as Int32Array, shape, { trainable });
  const values = tensor.dtype === "F32" ? tensor.data : toFloat32(tensor);
  return variableFrom(values.length === size ? values : values.subarray(0, size), shape, { trainable });
}
