// The load stage, and the base model of an experiment. An experiment reads the folder of its base model once. Its
// variants convert and train copies, which share the memory of the base model until they are changed.

import { join } from "node:path";
import { CONFIG_FILE } from "../../hub/model-folder/index.ts";
import { cutModel, withoutSizes } from "../compress/index.ts";
import { copyModel } from "../models/create.ts";
import { type LoadOptions, loadModel, type Model } from "../models/index.ts";
import type { Source } from "./fetch.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

/** How a model is loaded, and to which size it is cut. */
export interface LoadStageOptions extends LoadOptions {
  /** for a model of several sizes: the share of the linear parameters to keep. Default: it is not cut */
  keep?: number | undefined;
}

/**
 * Reads a model folder into the open engine.
 * @returns the model, which the caller disposes of
 * @throws ModelError or SafetensorsError if the folder cannot be read; EngineError if the model does not have the size
 */
export async function* load(
  folder: string,
  { keep, ...options }: LoadStageOptions = {},
): AsyncGenerator<PipelineEvent, Model> {
  const model = yield* loadWhole(folder, options);
  try {
    if (keep !== undefined) await cutModel(model, keep, { file: join(folder, CONFIG_FILE) });
    // Training is for the size that is trained. Afterwards the first ranks are no longer the smaller sizes.
    if (options.form === "trainable") model.json = withoutSizes(model.json);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

async function* loadWhole(folder: string, options: LoadOptions): AsyncGenerator<PipelineEvent, Model> {
  const events = lastEvent(loadModel(folder, options), "loaded", (event) =>
    event.kind === "loaded" ? undefined : { kind: "inner", of: "load", folder, event },
  );
  return (yield* events).model;
}

/** The name of a model in requests and titles: that of a cut model ends in its size. */
export const cutName = (name: string, keep: number | undefined): string =>
  keep === undefined ? name : `${name}@${keep}`;

/** The base model of an experiment, loaded once, at the first use. Must be disposed of. */
export class BaseModel {
  readonly source: Source;
  private readonly form: LoadOptions["form"];
  private loaded: Model | undefined;
  private isTaken = false;

  /** @param form `trainable` if a variant trains the model without converting it. Default `auto` */
  constructor(source: Source, { form = "auto" }: Pick<LoadOptions, "form"> = {}) {
    this.source = source;
    this.form = form;
  }

  /** The model itself, which must not be changed. */
  async *model(): AsyncGenerator<PipelineEvent, Model> {
    if (this.isTaken) throw new Error(`the model of ${this.source.folder} was handed over before`);
    const { folder, head, preparation } = this.source;
    this.loaded ??= yield* load(folder, { form: this.form, head, preparation });
    return this.loaded;
  }

  /** A copy of the model, which the caller may change and disposes of. */
  async *copy(): AsyncGenerator<PipelineEvent, Model> {
    return copyModel(yield* this.model());
  }

  /**
   * The model itself, which the caller may change and disposes of. It saves the memory of a copy. The base model cannot
   * be used afterwards.
   */
  async *take(): AsyncGenerator<PipelineEvent, Model> {
    const model = yield* this.model();
    this.loaded = undefined;
    this.isTaken = true;
    return model;
  }

  dispose(): void {
    this.loaded?.dispose();
    this.loaded = undefined;
  }
}
