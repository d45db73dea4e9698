// The domain of language models, and its settings. Text is cut into windows of tokens, and models are scored by
// perplexity.

import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { windowInputs } from "../../compress/index.ts";
import type { TextWindows } from "../../data/index.ts";
import { readConfig } from "../../models/folder/load.ts";
import { isLanguageModel, languageHidden, languageSizes } from "../../models/index.ts";
import { languageTask } from "../../train/index.ts";
import { fetchDataset, fetchModel } from "../fetch.ts";
import { rowOfText, scoreText } from "../measure.ts";
import { count, experimentShape, grouped, text } from "../settings.ts";
import { type PipelineEvent, resultOf, SettingsError } from "../stage.ts";
import type { Domain, OpenData, Sources } from "./domain.ts";
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
    wholeWindows: z.boolean().default(false).meta({
      description: "evaluate on whole windows only and leave out the end of the text, as published tables do",
    }),
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
  check: () => {},

  async *fetch({ model, dataset, config, trainSplit, validationSplit, testSplit }, context) {
    const splits = [trainSplit, validationSplit, testSplit];
    const found = yield* fetchModel(model, { ...context, trainable: true });
    return { model: found, data: yield* fetchDataset({ name: dataset, config, splits }, context) };
  },

  async *open(settings, { model, data }, context) {
    await expectFitting(model.folder, settings);
    const { config, column, encoding, context: length, wholeWindows: whole } = settings;
    const { cache, signal } = context;
    const places = { dataset: data.folder, tokenizer: model.folder, cache, signal };
    const texts = await openTexts({ ...places, config, column, encoding, context: length, whole });
    try {
      return openData(yield* splitsOf(texts, settings), { texts, settings, model });
    } catch (error) {
      await texts.close();
      throw error;
    }
  },

  metrics: ({ metrics }, { testSplit }) => [
    { type: "perplexity", value: metrics.perplexity as number, split: testSplit },
  ],
  contextOf: ({ context }) => context,
};

interface Splits {
  train: TextWindows;
  validation: TextWindows;
  test: TextWindows;
  /** windows of the training text to calibrate on */
  calibration: TextWindows;
}

function openData(
  { train, validation, test, calibration: seen }: Splits,
  { texts, settings, model: source }: { texts: Texts; settings: LanguageSettings; model: Sources["model"] },
): OpenData {
  return {
    trainItems: train.length,
    task: (model, teacher) =>
      languageTask({
        model,
        windows: train,
        ...(teacher && { teacher }),
        settings: { model: source.name, dataset: settings.dataset, split: settings.trainSplit },
      }),
    async *score(model, sharing) {
      return rowOfText(yield* scoreText(model, { windows: test, ...sharing }));
    },
    async evaluate(model, sharing) {
      const { nll, perplexity } = await resultOf(scoreText(model, { windows: validation, ...sharing }));
      return { validation: { nll, perplexity } };
    },
    calibration: ({ samples, batch, seed }) => ({
      inputs: () => windowInputs(drawnWindows(seen, { count: samples, seed }), { samples, batch }),
      forward: (model, ids: Tensor) => languageHidden(model, ids as Tensor2D),
      total: Math.min(samples, seen.length),
      unit: "windows",
    }),
    close: () => texts.close(),
  };
}

async function* splitsOf(texts: Texts, settings: LanguageSettings): AsyncGenerator<PipelineEvent, Splits> {
  yield { kind: "stage", stage: "tokenize" };
  const { dataset, context, trainSplit, testSplit, validationSplit, trainLimit, limit } = settings;
  // Training uses whole windows only, because all windows of a batch must have the same length.
  const train = firstWindows(yield* texts.windows(trainSplit, { whole: true }), trainLimit);
  const validation = firstWindows(yield* texts.windows(validationSplit), limit);
  const test = firstWindows(yield* texts.windows(testSplit), limit);
  const { calibrationContext: own = context } = settings;
  const calibration =
    own === context
      ? train
      : firstWindows(
          yield* texts.windows(trainSplit, { whole: true, context: own }),
          trainLimit && Math.floor((trainLimit * context) / own),
        );
  // This is an array of pairs instead of a record because both may be the same split.
  for (const [split, windows] of [[trainSplit, train] as const, [testSplit, test] as const]) {
    if (windows.length > 0) continue;
    const targets = windows.scored + windows.leftOut;
    const cure = targets > 0 ? `give --context ${targets} or less, or more text` : "give more text";
    throw new SettingsError(`${dataset}: split ${split} has no whole window of ${context} tokens; ${cure}`);
  }
  if (calibration.length === 0) {
    const cure = "give a shorter --calibration-context, or more text";
    throw new SettingsError(`${dataset}: split ${trainSplit} has no whole window of ${own} tokens; ${cure}`);
  }
  return { train, validation: validation.length > 0 ? validation : test, test, calibration };
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
