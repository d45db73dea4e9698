// The data sets that `gblr convert` reads besides the model: those of its flags --calibrate and --check. Each is one split
// of text or images, prepared as the model needs it. This file has what both flags do with them.

import type { TextWindows } from "../../data/index.ts";
import type { ProcessGroup } from "../../distributed/process-group.ts";
import { isLanguageModel, languageSizes, type Model, usualContext } from "../../models/index.ts";
import { fetchDataset, type Source } from "../fetch.ts";
import { type PipelineEvent, SettingsError, type StageContext, StageError } from "../stage.ts";
import type { SplitSettings } from "./domain.ts";
import { expectContext, openTexts, type Texts } from "./texts.ts";

/** The model for which data is opened. */
export interface ConvertDataOptions {
  model: Model;
  /** source of the model, from whose folder the tokenizer is read */
  source: Source;
  context: StageContext;
  /** processes that open the same data at the same time. Default: there is one */
  ranks?: ProcessGroup | undefined;
}

interface TextSplit {
  /** source of the data set */
  data: Source;
  /** must be closed */
  texts: Texts;
  /** at least one window */
  windows: TextWindows;
}

/**
 * Opens a split of text for a language model.
 * @param options.flag that names the data set, e.g. `--check`, for messages
 * @throws DataError if the data does not exist; SettingsError or StageError if it does not fit the model
 */
export async function* openTextSplit(
  { dataset, config, split, column, encoding, context: asked }: SplitSettings,
  { flag, model, source, context, ranks }: ConvertDataOptions & { flag: string },
): AsyncGenerator<PipelineEvent, TextSplit> {
  if (!isLanguageModel(model)) {
    throw new StageError(`${flag} needs a language model or an image classifier, not a ${model.architecture.type}`);
  }
  const sizes = languageSizes(model);
  const length = asked ?? usualContext(sizes);
  expectContext(length, { flag: `${flag}-context`, positions: sizes.positions });
  const data = yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
  const { cache, signal } = context;
  const places = { dataset: data.folder, tokenizer: source.folder, cache, ranks, signal };
  const texts = await openTexts({ ...places, config, column, encoding, context: length });
  try {
    const windows = yield* texts.windows(split);
    if (windows.length === 0) throw new StageError(`${split} has less than two tokens of text; give a split with more`);
    return { data, texts, windows };
  } catch (error) {
    await texts.close();
    throw error;
  }
}

/** Downloads a split of images. @throws SettingsError if the settings have a number of tokens */
export async function* fetchImageSplit(
  { dataset, config, split, context: length }: SplitSettings,
  { flag, context }: Pick<ConvertDataOptions, "context"> & { flag: string },
): AsyncGenerator<PipelineEvent, Source> {
  if (length !== undefined) {
    const problem = `${flag}-context is for language models, but this is an image classifier`;
    throw new SettingsError(`${problem}; leave it out`);
  }
  return yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
}
