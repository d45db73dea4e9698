// The load stage, and the model that an experiment starts from. An experiment reads that model's folder once: variants
// convert and train copies, which share the base model's memory until something changes them. Each saved model is read back
// once besides, because what is published is what was measured as read back from its folder.

import { copyModel } from "../models/create.ts";
import { type LoadOptions, loadModel, type Model } from "../models/index.ts";
import type { Source } from "./fetch.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

/** Reads a model folder into the open engine. */
export async function* load(folder: string, options: LoadOptions = {}): AsyncGenerator<PipelineEvent, Model> {
  const events = lastEvent(loadModel(folder, options), "loaded", (event) =>
    event.kind === "loaded" ? undefined : { kind: "inner", of: "load", folder, event },
  );
  return (yield* events).model;
}

/** Loads its model when it is first asked for, and once. Dispose of it. */
export class BaseModel {
  readonly source: Source;
  private readonly form: LoadOptions["form"];
  private loaded: Model | undefined;
  private isTaken = false;

  /** @param form `trainable` where a variant trains the model on as it is. Default `auto` */
  constructor(source: Source, { form = "auto" }: Pick<LoadOptions, "form"> = {}) {
    this.source = source;
    this.form = form;
  }

  /** The model itself, to be read and not to be changed. */
  async *model(): AsyncGenerator<PipelineEvent, Model> {
    if (this.isTaken) throw new Error(`the model of ${this.source.folder} was handed over before`);
    const { folder, head, preparation } = this.source;
    this.loaded ??= yield* load(folder, { form: this.form, head, preparation });
    return this.loaded;
  }

  /** A model of the caller's own, to be changed and disposed of. */
  async *copy(): AsyncGenerator<PipelineEvent, Model> {
    return copyModel(yield* this.model());
  }

  /** The model itself for the last who changes it, so that no second one stays in memory. */
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
