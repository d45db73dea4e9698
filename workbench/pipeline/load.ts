// The load stage, and the base model of an experiment. An experiment reads the folder of its base model once. Its
// variants convert and train copies, which share the memory of the base model until they are changed.

import { copyModel } from "../models/create.ts";
import { type LoadOptions, loadModel, type Model } from "../models/index.ts";
import type { Source } from "./fetch.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

/**
 * Reads a model folder into the open engine.
 * @returns the model, which the caller disposes of
 * @throws ModelError or SafetensorsError if the folder cannot be read
 */
export async function* load(folder: string, options: LoadOptions = {}): AsyncGenerator<PipelineEvent, Model> {
  const events = lastEvent(loadModel(folder, options), "loaded", (event) =>
    event.kind === "loaded" ? undefined : { kind: "inner", of: "load", folder, event },
  );
  return (yield* events).model;
}

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
