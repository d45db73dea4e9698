// The finished layers of a conversion on disk, one safetensors file for each, so that a conversion that was killed goes
// on with the layer that it had begun. A file is written atomically. It counts only if its fingerprint is that of the
// same weight, converted with the same settings and data; files of other conversions are replaced.

import { createHash } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Tensor, type Tensor2D, tensor } from "@tensorflow/tfjs-core";
import { reason } from "../../hub/files/byte-source.ts";
import { isDense } from "../../hub/model-folder/index.ts";
import {
  openSafetensors,
  SafetensorsError,
  type TensorFile,
  type TensorSource,
  writeSafetensors,
} from "../../hub/safetensors/index.ts";
import { jsonOrUndefined } from "../../hub/text/json.ts";
import { EngineError } from "../engine/core/errors.ts";
import { denseWeight } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import type { StructureParameters } from "../structures/structure.ts";
import type { ConvertedLayer } from "./convert.ts";

/** A layer as a file holds it. */
export interface FinishedLayer {
  layer: ConvertedLayer;
  /** by parameter name; the caller disposes of them */
  parameters: StructureParameters;
}

/** The finished layers of one conversion, in a folder of their own. */
export class FinishedLayers {
  readonly folder: string;
  private readonly settings: string;

  /**
   * @param folder is created with the first layer
   * @param settings everything that the result depends on but the weights; must have a JSON form
   */
  constructor(folder: string, settings: unknown) {
    this.folder = folder;
    this.settings = JSON.stringify(settings);
  }

  /** The same layers, for settings that are known later. */
  with(settings: unknown): FinishedLayers {
    return new FinishedLayers(this.folder, [this.settings, settings]);
  }

  /**
   * Identifies a layer of this conversion.
   * @param weight dense weight, float32 (n_out, n_in)
   */
  async fingerprint(name: string, weight: Tensor2D): Promise<string> {
    const values = await weight.data();
    return createHash("sha256")
      .update(JSON.stringify([FORMAT, this.settings, name, weight.shape]))
      .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
      .digest("hex");
  }

  /** Whether a layer of this conversion is there and can be read. */
  async has(name: string, fingerprint: string): Promise<boolean> {
    return (await this.opened(name, fingerprint, storedIn)) !== undefined;
  }

  /**
   * Reads a layer.
   * @returns undefined if it is not there, cannot be read, or belongs to another conversion
   */
  read(name: string, fingerprint: string): Promise<FinishedLayer | undefined> {
    return this.opened(name, fingerprint, async (file, layer) => ({ layer, parameters: await parametersIn(file) }));
  }

  /** Does something with the file of a layer. @returns undefined if the layer is not there, or this fails */
  private async opened<Result>(
    name: string,
    fingerprint: string,
    use: (file: TensorFile, layer: ConvertedLayer) => Promise<Result>,
  ): Promise<Result | undefined> {
    const file = await openSafetensors(this.pathOf(name)).catch(() => undefined);
    if (!file) return undefined;
    try {
      const { metadata } = file;
      const layer = jsonOrUndefined(metadata.get("layer") ?? "") as ConvertedLayer | undefined;
      if (layer === undefined || metadata.get("fingerprint") !== fingerprint) return undefined;
      return await use(file, layer);
    } catch {
      // A file that cannot be read is converted and written again.
      return undefined;
    } finally {
      await file.close();
    }
  }

  /**
   * Writes a layer.
   * @throws EngineError when it cannot be written
   */
  async write(layer: ConvertedLayer, parameters: StructureParameters, fingerprint: string): Promise<void> {
    const path = this.pathOf(layer.name);
    try {
      await mkdir(this.folder, { recursive: true });
      const tensors = await Promise.all(Object.entries(parameters).map(sourceOf));
      await writeSafetensors(path, tensors, { metadata: { fingerprint, layer: JSON.stringify(layer) } });
    } catch (error) {
      const isNamed = error instanceof SafetensorsError;
      const problem = isNamed ? error.message : `${path} cannot be written: ${reason(error)}`;
      throw new EngineError(problem, "free disk space and start again");
    }
  }

  /** Removes the files of these layers, and the folder if nothing else is in it. */
  async remove(names: Iterable<string>): Promise<void> {
    for (const name of names) await rm(this.pathOf(name), { force: true });
    const left = await readdir(this.folder).catch(() => undefined);
    // Killed processes leave temporary files.
    if (left?.every((name) => name.endsWith(".tmp"))) await rm(this.folder, { recursive: true });
  }

  private pathOf(name: string): string {
    return join(this.folder, `${name}.safetensors`);
  }
}

/** Reads finished layers and writes others, with the fingerprints of the weights before the conversion. */
export class Keeper {
  private readonly fingerprints = new Map<string, string>();
  private readonly finished: FinishedLayers;

  constructor(finished: FinishedLayers) {
    this.finished = finished;
  }

  /** Whether a layer is there. Must precede the other calls for it. @param model in which the layer is dense */
  async has(model: Model, name: string): Promise<boolean> {
    const weight = denseWeight(model, name);
    const fingerprint = await this.finished.fingerprint(name, weight);
    weight.dispose();
    this.fingerprints.set(name, fingerprint);
    return this.finished.has(name, fingerprint);
  }

  /** Reads a layer. @returns undefined if it is not there */
  read(name: string): Promise<FinishedLayer | undefined> {
    return this.finished.read(name, this.fingerprints.get(name) ?? "");
  }

  /** Writes a layer. @param model in which the layer has its new structure */
  async keep(model: Model, layer: ConvertedLayer): Promise<void> {
    const fingerprint = this.fingerprints.get(layer.name);
    // Dense layers that have not changed cost nothing to convert again.
    if (fingerprint === undefined || (isDense(layer.structure) && layer.error === 0)) return;
    if (!isDense(layer.structure)) {
      await this.finished.write(layer, model.structureParameters(layer.name), fingerprint);
      return;
    }
    const weight = denseWeight(model, layer.name);
    await this.finished.write(layer, { weight }, fingerprint);
    weight.dispose();
  }
}

/** Version of the files. */
const FORMAT = "gblr-finished-layer-1";

async function sourceOf([name, values]: [string, Tensor]): Promise<TensorSource> {
  const { shape, dtype } = values;
  const data = (await values.data()) as Float32Array | Int32Array;
  return { name, shape, dtype: dtype === "int32" ? "I32" : "F32", data };
}

const storedIn = (file: TensorFile) =>
  Promise.all(Array.from(file.tensors.keys(), async (name) => [name, await file.read(name)] as const));

async function parametersIn(file: TensorFile): Promise<StructureParameters> {
  // All values are read before the first tensor is made, so that a damaged file leaves no tensors behind.
  const stored = await storedIn(file);
  return Object.fromEntries(
    stored.map(([name, { dtype, shape, data }]) => [
      name,
      tensor(data as Float32Array, [...shape], dtype === "I32" ? "int32" : "float32"),
    ]),
  );
}
