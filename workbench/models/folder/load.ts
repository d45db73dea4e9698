// Loads a local model folder: config.json, then each tensor directly into the engine. stored-parameters.ts determines
// the tensors that a model needs.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import {
  CONFIG_FILE,
  checkModel,
  finishReplacing,
  ModelError,
  openModel,
  openTrainable,
  readConfigText,
  TRAINABLE_FILE,
  unwrapModel,
} from "../../../hub/model-folder/index.ts";
import { isJsonObject, jsonOrUndefined } from "../../../hub/text/json.ts";
import { textOfFile } from "../../../hub/text/utf8.ts";
import { type Architecture, namesOf } from "../../architectures/architecture.ts";
import type { ParameterInfo } from "../../architectures/network.ts";
import { architectureOfConfig } from "../../architectures/registry.ts";
import { isClassifier } from "../../architectures/task.ts";
import type { Structure } from "../../structures/structure.ts";
import { startParameters } from "../create.ts";
import { configForClasses, headParameters, type NewHead, type Preparation, prepared } from "../images/adapt.ts";
import { PREPROCESSOR_FILE } from "../images/image-processor.ts";
import { imageSettings } from "../images/image-settings.ts";
import { Model } from "../model.ts";
import { expectWeightType, ParameterReader, type WeightType } from "./read-parameters.ts";
import { type StoredModel, type StoredParameter, storedParameters } from "./stored-parameters.ts";
import { expectTied } from "./tied-tensors.ts";

/** The form in which a model is loaded, and replacements. */
export interface LoadOptions {
  /**
   * form of GBLR layers: `packed` for inference, `trainable` with all parameters, or `auto` for the packed form if
   * there is one. Default `auto`
   */
  form?: keyof typeof OPENERS;
  /**
   * number type in memory of dense weights, embeddings and heads. Weights in half precision are converted to float32 at
   * each use and cannot be trained. Norms, biases, convolutions and structured layers are float32. Default `float32`
   */
  dtype?: WeightType | undefined;
  /** a new head for other classes. Default the head of the folder */
  head?: NewHead | undefined;
  /** another preparation of images. Default that of the folder */
  preparation?: Preparation | undefined;
}

/** Functions that open the files of each form. */
const OPENERS = { auto: openModel, packed: openModel, trainable: openTrainable };
/** Forms in which no layer may be trainable. */
const PACKED_ONLY: ReadonlySet<string> = new Set(["packed"]);

/** Progress of loading; the last event has the model. */
export type LoadEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | { kind: "progress"; tensor: string; bytes: number }
  | { kind: "loaded"; model: Model };

/**
 * Loads a model folder into the engine, tensor by tensor.
 * @param folder a local model folder
 * @throws ModelError or SafetensorsError with a message of one line: no model, an unknown architecture, a missing or
 * unexpected tensor, a wrong shape, a missing form. EngineError when the engine cannot hold weights in `dtype`
 */
export async function* loadModel(
  folder: string,
  { form = "auto", dtype = "float32", head, preparation }: LoadOptions = {},
): AsyncGenerator<LoadEvent> {
  expectWeightType(dtype);
  await finishReplacing(folder);
  const { json, architecture, config, preprocessor, made } = await describeModel(folder, { head, preparation });
  // Checked before tensors are read, because the image preparation may be unsupported.
  if (isClassifier({ architecture })) imageSettings({ architecture, config, json, preprocessor }, folder);
  const { prefixes } = namesOf(architecture);
  const opened = await OPENERS[form](folder, prefixes);
  const parameters = new Map<string, Variable>();
  try {
    const open = unwrapModel(opened, prefixes);
    const { layers: found } = await checkModel(open);
    const stored = storedParameters(
      { ...open, layers: found },
      { architecture, config, without: new Set(made.keys()) },
    );
    expectForm(stored, { form, folder });
    await expectTied(open, { architecture, config, prefix: stored.prefix });
    const { tensors } = open.tensors;
    const bytesOf = ({ stored, part }: StoredParameter) =>
      part && part.first > 0 ? 0 : (tensors.get(stored)?.byteLength ?? 0);
    const bytes = [...stored.parameters.values()].reduce((sum, parameter) => sum + bytesOf(parameter), 0);
    yield { kind: "opened", tensors: stored.parameters.size, bytes };
    const reader = new ParameterReader(open.tensors, dtype);
    for (const [name, parameter] of stored.parameters) {
      parameters.set(name, await reader.variable(parameter));
      yield { kind: "progress", tensor: parameter.stored, bytes: bytesOf(parameter) };
    }
    for (const [name, variable] of startParameters(made, head?.seed ?? 0)) parameters.set(name, variable);
    const { layers, masks } = stored;
    const prefix = namesOf(architecture).savedPrefix?.(stored.prefix) ?? stored.prefix;
    const parts = { architecture, config, json, parameters, layers, masks, prefix, preprocessor };
    yield { kind: "loaded", model: new Model(parts) };
  } catch (error) {
    for (const variable of parameters.values()) variable.dispose();
    throw error;
  } finally {
    await opened.tensors.close();
  }
}

/** Loads a model without reporting events. */
export async function loadModelNow(folder: string, options: LoadOptions = {}): Promise<Model> {
  for await (const event of loadModel(folder, options)) {
    if (event.kind === "loaded") return event.model;
  }
  throw new ModelError("loading ended early", { file: folder });
}

/** A config.json with its architecture. */
export interface ReadConfig {
  json: Record<string, unknown>;
  architecture: Architecture;
  config: unknown;
}

/**
 * Reads config.json.
 * @throws ModelError when there is no config.json, or its architecture is unknown
 */
export async function readConfig(folder: string): Promise<ReadConfig> {
  const { json, architecture } = await readConfigFields(folder);
  return { json, architecture, config: architecture.readConfig(json, join(folder, CONFIG_FILE)) };
}

/**
 * Reads config.json without checking the fields of its architecture, as for a classifier that has no head yet.
 * @throws ModelError when there is no config.json, or its architecture is unknown
 */
export async function readConfigFields(folder: string): Promise<Omit<ReadConfig, "config">> {
  const file = join(folder, CONFIG_FILE);
  const json = jsonObject(await readConfigText(file));
  if (json === undefined) throw new ModelError("is not a JSON object", { file });
  return { json, architecture: architectureOfConfig(json, file) };
}

/** A model without the values of its parameters. */
export interface ModelDescription extends Omit<ReadConfig, "json"> {
  json: Readonly<Record<string, unknown>>;
  preprocessor: Readonly<Record<string, unknown>> | undefined;
  /** parameters of a new head, which are not read from the folder */
  made: ReadonlyMap<string, ParameterInfo>;
}

/**
 * A model without its parameters' values.
 * @throws ModelError as `readConfig`, or when the model has no head or does not support the preparation
 */
export async function describeModel(
  folder: string,
  { head, preparation }: Pick<LoadOptions, "head" | "preparation"> = {},
): Promise<ModelDescription> {
  const file = join(folder, CONFIG_FILE);
  // The number of classes is not checked before it is replaced, because a model may have no head.
  const { json: stored, architecture } = await readConfigFields(folder);
  const classed = head ? configForClasses(stored, head.classes) : stored;
  const config = architecture.readConfig({ ...classed }, file);
  const own = { json: classed, architecture, config, preprocessor: await readPreprocessor(folder) };
  return {
    ...own,
    ...(preparation && prepared(own, preparation, join(folder, PREPROCESSOR_FILE))),
    made: head ? headParameters(architecture, classed, file) : new Map(),
  };
}

/** The content of preprocessor_config.json, if there is one. */
async function readPreprocessor(folder: string): Promise<Record<string, unknown> | undefined> {
  const file = join(folder, PREPROCESSOR_FILE);
  const bytes = await readFile(file).catch(() => undefined);
  if (bytes === undefined) return undefined;
  return jsonObject(textOfFile(bytes, (problem, options) => new ModelError(problem, { file }, options)));
}

function jsonObject(text: string): Record<string, unknown> | undefined {
  const value = jsonOrUndefined(text);
  return isJsonObject(value) ? value : undefined;
}

function expectForm({ layers }: StoredModel, { form, folder }: { form: keyof typeof OPENERS; folder: string }): void {
  const first = (is: (structure: Structure) => boolean) =>
    [...layers.values()].find(({ structure }) => is(structure))?.name;
  const packed = first(({ isTrainable = true }) => !isTrainable);
  const trainable = first(({ pack }) => pack !== undefined);
  if (OPENERS[form] === openTrainable && packed !== undefined) {
    const problem = `is packed and cannot be trained; there is no ${TRAINABLE_FILE} with its parameters`;
    throw new ModelError(problem, { file: folder, layer: packed });
  }
  if (PACKED_ONLY.has(form) && trainable !== undefined) {
    throw new ModelError("is not packed; load it as trainable and save it", { file: folder, layer: trainable });
  }
}
