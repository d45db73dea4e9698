// A file of weights made into a model folder: config.json from the names and shapes of its tensors, which are streamed
// from one file to the other as they are. Nothing of a checkpoint is run, and no engine is needed.

import { type Checkpoint, openCheckpoint, writeRest } from "../../../hub/checkpoint/index.ts";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { openTensors, type TensorSource, type WriteProgress } from "../../../hub/safetensors/index.ts";
import { namesOf } from "../../architectures/architecture.ts";
import { prepareFolder, writeModelFolder } from "../folder/write-folder.ts";
import { type Recognized, recognize, type WeightsOptions } from "./recognize.ts";

export interface ImportWeightsOptions extends WeightsOptions {
  /** the model folder, made if it is not there; a model in it is replaced */
  out: string;
  /** bytes of tensors in one file, at most. Default 5 GB */
  maxShardBytes?: number | undefined;
}

export type ImportWeightsEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  /** last of all */
  | { kind: "imported"; model: Recognized; files: string[] };

/** Whether a path is of safetensors: a file, or the index of several. */
export const isSafetensors = (path: string): boolean => /\.safetensors(\.index\.json)?$/.test(path);

/** Close it. @param path a checkpoint of PyTorch's, or of safetensors @throws CheckpointError, SafetensorsError */
async function openWeights(path: string): Promise<Checkpoint & { file: string }> {
  if (!isSafetensors(path)) return { file: path, ...(await openCheckpoint(path)) };
  return { file: path, ...(await openTensors(path)), rest: {}, tied: new Map() };
}

/**
 * What a file of weights is. Opens it and reads no tensor.
 * @returns undefined for weights of no architecture that is known
 * @throws CheckpointError, SafetensorsError for a file that is damaged; ModelError as `recognize`
 */
export async function recognizeFile(path: string, options: WeightsOptions = {}): Promise<Recognized | undefined> {
  const weights = await openWeights(path);
  try {
    return recognize({ ...weights, tensors: weights }, options);
  } finally {
    await weights.close();
  }
}

/**
 * @param path weights that are recognized
 * @throws as `recognizeFile`; ModelError, SafetensorsError when the folder cannot be written: it is then as it was
 */
export async function* importWeights(
  path: string,
  { out, maxShardBytes, ...options }: ImportWeightsOptions,
): AsyncGenerator<ImportWeightsEvent, void> {
  const weights = await openWeights(path);
  try {
    const model = recognize({ ...weights, tensors: weights }, options);
    if (!model) throw new Error(`${path} is of no architecture that is known`);
    await prepareFolder(out);
    const files: string[] = [];
    const { config, preprocessor } = model;
    for await (const event of writeModelFolder(out, { model: sourcesOf(model), config, preprocessor, maxShardBytes })) {
      if (event.kind === "saved") files.push(...event.files);
      else yield event;
    }
    files.push(...(await writeRest(weights, out)));
    yield { kind: "imported", model, files };
  } finally {
    await weights.close();
  }
}

/** All tensors but those that repeat another one, such as a head that is the embedding again. */
function sourcesOf({ architecture, config, tensors }: Recognized): TensorSource[] {
  const { prefixes, parameterName, tied } = namesOf(architecture);
  const repeated = tied?.(architecture.readConfig({ ...config }, CONFIG_FILE)) ?? [];
  const isTied = (name: string) => prefixes.some((prefix) => repeated.includes(parameterName(name, prefix)));
  return Array.from(tensors.tensors)
    .filter(([name]) => !isTied(name))
    .map(([name, { dtype, shape }]) => ({ name, dtype, shape, data: () => tensors.chunks(name) }));
}
