// Imports a file of weights as a model folder: makes config.json from the names and shapes of tensors, and copies their
// values unchanged. No code in a checkpoint is executed, and no engine is needed.

import { type Checkpoint, openCheckpoint, writeRest } from "../../../hub/checkpoint/index.ts";
import { openTensors, type TensorSource, type WriteProgress } from "../../../hub/safetensors/index.ts";
import { namesOf } from "../../architectures/architecture.ts";
import { prepareFolder, writeModelFolder } from "../folder/write-folder.ts";
import { type Recognized, recognize, type WeightsOptions } from "./recognize.ts";

/** Options of `importWeights`. */
export interface ImportWeightsOptions extends WeightsOptions {
  /** the model folder, created if missing; a model in it is replaced */
  out: string;
  /** maximum bytes of tensors per file. Default 5 GB */
  maxShardBytes?: number | undefined;
}

/** Progress of an import. */
export type ImportWeightsEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  /** the last event */
  | { kind: "imported"; model: Recognized; files: string[] };

/** Whether a path is a safetensors file, or the index of several. */
export const isSafetensors = (path: string): boolean => /\.safetensors(\.index\.json)?$/.test(path);

/**
 * Opens a PyTorch checkpoint or safetensors file, which the caller closes.
 * @throws CheckpointError, SafetensorsError
 */
async function openWeights(path: string): Promise<Checkpoint & { file: string }> {
  if (!isSafetensors(path)) return { file: path, ...(await openCheckpoint(path)) };
  return { file: path, ...(await openTensors(path)), rest: {}, tied: new Map() };
}

/**
 * Recognizes a file of weights without reading tensors.
 * @returns undefined for weights of an unknown architecture
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
 * Imports a file of weights as a model folder.
 * @param path file of weights of a known architecture, see `recognizeFile`
 * @throws CheckpointError, SafetensorsError or ModelError as `recognizeFile`, or if the folder cannot be written, which
 * is then unchanged
 */
export async function* importWeights(
  path: string,
  { out, maxShardBytes, ...options }: ImportWeightsOptions,
): AsyncGenerator<ImportWeightsEvent, void> {
  const weights = await openWeights(path);
  try {
    const model = recognize({ ...weights, tensors: weights }, options);
    if (!model) throw new Error(`${path} has an unknown architecture`);
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

/** All tensors except those that repeat another one, such as a tied head. */
function sourcesOf({ architecture, settings, tensors }: Recognized): TensorSource[] {
  const { prefixes, parameterName, tied } = namesOf(architecture);
  const repeated = tied?.(settings);
  const isTied = (name: string) => prefixes.some((prefix) => repeated?.has(parameterName(name, prefix)) ?? false);
  return Array.from(tensors.tensors)
    .filter(([name]) => !isTied(name))
    .map(([name, { dtype, shape }]) => ({ name, dtype, shape, data: () => tensors.chunks(name) }));
}
