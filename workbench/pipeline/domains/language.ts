// The domain of language models, and its settings. Text is cut into windows of tokens, and models are scored by
// perplexity.

import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { windowInputs } from "../../compress/index.ts";
import type { TextWindows } from "../../data/index.ts";
import type { Tokenizer, TokenWindows } from "../../data/types.ts";
import { readConfig } from "../../models/folder/load.ts";
import { isLanguageModel, languageHidden, languageSizes } from "../../models/index.ts";
import { languageTask, type Settings, type StreamedWindows } from "../../train/index.ts";
import { fetchDataset, fetchModel } from "../fetch.ts";
import { sampleText } from "../generate.ts";
import { rowOfText, scoreText } from "../measure.ts";
import { count, experimentShape, grouped, text } from "../settings.ts";
import { type PipelineEvent, resultOf, SettingsError } from "../stage.ts";
import type { Domain, OpenData, Sources } from "./domain.ts";
import { checkTextStream, openTextStream, type StreamedTexts } from "./streamed-texts.ts";
import { drawnWindows, expectContext, firstWindows, openTexts, type Texts } from "./texts.ts";

/** Tokens per window, unless the settings give another number. */
export const CONTEXT = 1024;

/** Schema of the settings of an experiment with a language model. */
export const languageSettings = z.object({
  ...experimentShape("windows"),
  ...grouped("Model and data", {
    column: text("column with the text").default("text"),
    encoding: text("encoding of text files, such as windows-1252 (default: utf-8)").optional(),
    context: count("tokens per window", "tokens").default(CONTEXT),
    shuffleWindows: count("with --stream: windows that are shuffled together, at least", "windows").default(1024),
    wholeWindows: z.boolean().default(false).meta({
      description: "evaluate on whole windows only and leave out the end of the text, as published tables do",
    }),
  }),
  ...grouped("Training", {
    samplePrompt: text(
      "text that the model continues at each evaluation of the training, shown by gblr watch",
    ).optional(),
    sampleTokens: count("tokens that it adds", "tokens").default(48),
  }),
  ...grouped("Compression", {
    calibrationContext: count("tokens per window of the calibration (default: --context)", "tokens")
      .optional()
      // its flag in `gblr convert`
      .meta({ aliases: ["calibrateContext"] }),
  }),
});

/** The settings of an experiment with a language model. The schema has their units and defaults. */
export type LanguageSettings = z.output<typeof languageSettings>;

/** The domain of language models. */
export const languageDomain: Domain<LanguageSettings> = {
  task: "text-generation",
  schema: languageSettings,
  check: checkTextStream,

  async *fetch({ model, dataset, config, stream, trainSplit, validationSplit, testSplit }, context) {
    const splits = [trainSplit, validationSplit, testSplit].filter((split) => !stream || split !== trainSplit);
    const found = yield* fetchModel(model, { ...context, trainable: true });
    return { model: found, data: yield* fetchDataset({ name: dataset, config, splits }, context) };
  },

  async *open(settings, { model, data }, context) {
    await expectFitting(model.folder, settings);
    const { config, column, encoding, context: length, wholeWindows: whole } = settings;
    const { cache, signal, ranks } = context;
    const places = { dataset: data.folder, tokenizer: model.folder, cache, ranks, signal };
    const texts = await openTexts({ ...places, config, column, encoding, context: length, whole });
    let streamed: StreamedTexts | undefined;
    const close = async () => {
      await streamed?.close();
      await texts.close();
    };
    try {
      if (settings.stream) streamed = yield* openTextStream(settings, { data, tokenizer: model.folder, context });
      const { tokenizer } = texts;
      return openData(yield* splitsOf(texts, settings, streamed), { settings, model, data, tokenizer, close });
    } catch (error) {
      await close();
      throw error;
    }
  },

  metrics: ({ metrics }, { testSplit }) => [
    { type: "perplexity", value: metrics.perplexity as number, split: testSplit },
  ],
  contextOf: ({ context }) => context,
};

interface Splits {
  train: TextWindows | StreamedWindows;
  validation: TextWindows;
  test: TextWindows;
  /** windows of the training text to calibrate on */
  calibration(request: { samples: number; seed: number | undefined }): TokenWindows;
}

interface Opened extends Sources, Pick<OpenData, "close"> {
  settings: LanguageSettings;
  tokenizer: Tokenizer;
}

function openData(
  { train, validation, test, calibration: seen }: Splits,
  { settings, model: source, data, tokenizer, close }: Opened,
): OpenData {
  const { samplePrompt, sampleTokens: tokens } = settings;
  // A place in a stream means nothing in other files.
  const revision: Settings = settings.stream && data.revision !== undefined ? { revision: data.revision } : {};
  return {
    trainItems: train.length,
    task: (model, teacher) =>
      languageTask({
        model,
        windows: train,
        ...(teacher && { teacher }),
        settings: { model: source.name, dataset: settings.dataset, split: settings.trainSplit, ...revision },
      }),
    async *score(model, sharing) {
      return rowOfText(yield* scoreText(model, { windows: test, ...sharing }));
    },
    async evaluate(model, sharing) {
      const { nll, perplexity } = await resultOf(scoreText(model, { windows: validation, ...sharing }));
      return { validation: { nll, perplexity } };
    },
    ...(samplePrompt !== undefined && {
      samples: async (model, signal) => [await sampleText(model, { tokenizer, prompt: samplePrompt, tokens, signal })],
    }),
    calibration: ({ samples, batch, seed }) => {
      const windows = seen({ samples, seed });
      return {
        inputs: () => windowInputs(windows, { samples, batch }),
        forward: (model, ids: Tensor) => languageHidden(model, ids as Tensor2D),
        total: windows.length,
        unit: "windows",
      };
    },
    close,
  };
}

async function* splitsOf(
  texts: Texts,
  settings: LanguageSettings,
  streamed: StreamedTexts | undefined,
): AsyncGenerator<PipelineEvent, Splits> {
  yield { kind: "stage", stage: "tokenize" };
  const { dataset, context, testSplit, validationSplit, limit } = settings;
  const { train, calibration } = streamed ?? (yield* trainingOf(texts, settings));
  const evaluated = async function* (split: string): AsyncGenerator<PipelineEvent, TextWindows> {
    return streamed?.heldOut(split) ?? firstWindows(yield* texts.windows(split), limit);
  };
  const validation = yield* evaluated(validationSplit);
  const test = yield* evaluated(testSplit);
  expectWindows(test, { of: dataset, split: testSplit, context });
  return { train, calibration, validation: validation.length > 0 ? validation : test, test };
}

/** The training split, tokenized as a whole. */
async function* trainingOf(
  texts: Texts,
  settings: LanguageSettings,
): AsyncGenerator<PipelineEvent, Pick<Splits, "train" | "calibration">> {
  const { dataset, context, trainSplit, trainLimit } = settings;
  // Training uses whole windows only, because all windows of a batch must have the same length.
  const train = firstWindows(yield* texts.windows(trainSplit, { whole: true }), trainLimit);
  const { calibrationContext: own = context } = settings;
  const seen =
    own === context
      ? train
      : firstWindows(
          yield* texts.windows(trainSplit, { whole: true, context: own }),
          trainLimit && Math.floor((trainLimit * context) / own),
        );
  expectWindows(train, { of: dataset, split: trainSplit, context });
  if (seen.length === 0) {
    const cure = "give a shorter --calibration-context, or more text";
    throw new SettingsError(`${dataset}: split ${trainSplit} has no whole window of ${own} tokens; ${cure}`);
  }
  return { train, calibration: ({ samples, seed }) => drawnWindows(seen, { count: samples, seed }) };
}

/** @throws SettingsError if there is no window */
function expectWindows(
  windows: TextWindows,
  { of, split, context }: { of: string; split: string; context: number },
): void {
  if (windows.length > 0) return;
  const targets = windows.scored + windows.leftOut;
  const cure = targets > 0 ? `give --context ${targets} or less, or more text` : "give more text";
  throw new SettingsError(`${of}: split ${split} has no whole window of ${context} tokens; ${cure}`);
}

async function expectFitting(folder: string, settings: LanguageSettings): Promise<void> {
  const { model, context, calibrationContext = context } = settings;
  const { architecture, config } = await readConfig(folder);
  if (!isLanguageModel({ architecture })) {
    throw new SettingsError(`--model ${model} is a ${architecture.type}; a language model is needed`);
  }
  const { positions } = languageSizes({ architecture, config });
  expectContext(context, { flag: "--context", positions });
  expectContext(calibrationContext, { flag: "--calibration-context", positions });
}
