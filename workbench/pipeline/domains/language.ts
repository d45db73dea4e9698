// Text for experiments with language models: windows of tokens, scored by perplexity.

import { join } from "node:path";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { type Gpt2, gpt2Hidden } from "../../architectures/gpt2/forward.ts";
import { windowInputs } from "../../compress/calibrate.ts";
import type { TextWindows } from "../../data/types.ts";
import { readConfig } from "../../models/folder/load.ts";
import { languageTask } from "../../train/language-task.ts";
import { locateDataset, locateModel } from "../fetch.ts";
import { scoreText } from "../measure.ts";
import { count, experimentShape, grouped, SettingsError, text } from "../settings.ts";
import { type ExperimentEvent, resultOf } from "../stage.ts";
import type { Domain, OpenData, Sources } from "./domain.ts";
import { firstWindows, openTexts, type Texts } from "./texts.ts";

export const languageDomain: Domain<LanguageSettings> = {
  task: "text-generation",
  check: () => {},

  async *fetch({ model, dataset, config, trainSplit, validationSplit, testSplit }, context) {
    const splits = [trainSplit, validationSplit, testSplit];
    const found = yield* locateModel(model, { ...context, trainable: true });
    return { model: found, data: yield* locateDataset({ name: dataset, config, splits }, context) };
  },

  async *open(settings, { model, data }, context) {
    await expectFitting(model.folder, settings);
    const { config, column, encoding, context: length, wholeWindows: whole } = settings;
    const places = { dataset: data.folder, tokenizer: model.folder, cache: join(context.cache, "tokens") };
    const texts = await openTexts({
      ...places,
      config,
      column,
      encoding,
      context: length,
      whole,
      signal: context.signal,
    });
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
}

function openData(
  { train, validation, test }: Splits,
  { texts, settings, model: source }: { texts: Texts; settings: LanguageSettings; model: Sources["model"] },
): OpenData {
  return {
    trainItems: train.length,
    task: (model, teacher) =>
      languageTask({
        model: model as Gpt2,
        windows: train,
        ...(teacher && { teacher: { ...teacher, model: teacher.model as Gpt2 } }),
        settings: { model: source.name, dataset: settings.dataset, split: settings.trainSplit },
      }),
    async *score(model, signal) {
      const { perplexity, nll } = yield* scoreText(model as Gpt2, { windows: test, signal });
      return { perplexity, nll };
    },
    async evaluate(model, signal) {
      const { nll, perplexity } = await resultOf(scoreText(model as Gpt2, { windows: validation, signal }));
      return { validation: { nll, perplexity } };
    },
    inputs: (samples, batch) => windowInputs(train, { samples, batch }),
    forward: (model, ids: Tensor) => gpt2Hidden(model as Gpt2, ids as Tensor2D),
    close: () => texts.close(),
  };
}

async function* splitsOf(texts: Texts, settings: LanguageSettings): AsyncGenerator<ExperimentEvent, Splits> {
  yield { kind: "stage", stage: "tokenize" };
  const { dataset, context, trainSplit, testSplit, validationSplit, trainLimit, limit } = settings;
  // Windows of one batch have one length: the end of the text is never trained on.
  const train = firstWindows(yield* texts.windows(trainSplit, { whole: true }), trainLimit);
  const validation = firstWindows(yield* texts.windows(validationSplit), limit);
  const test = firstWindows(yield* texts.windows(testSplit), limit);
  // Two lists, not one by name: both may be of one split.
  for (const [split, windows] of [[trainSplit, train] as const, [testSplit, test] as const]) {
    if (windows.length > 0) continue;
    const targets = windows.scored + windows.leftOut;
    const cure = targets > 0 ? `give --context ${targets} or less, or more text` : "give more text";
    throw new SettingsError(`${dataset}: split ${split} has no whole window of ${context} tokens; ${cure}`);
  }
  return { train, validation: validation.length > 0 ? validation : test, test };
}

async function expectFitting(folder: string, { model, context }: LanguageSettings): Promise<void> {
  const { architecture, config } = await readConfig(folder);
  if (architecture.type !== "gpt2") {
    throw new SettingsError(`--model ${model} is a ${architecture.type}, no language model`);
  }
  const { positions } = config as Gpt2["config"];
  if (context > positions)
    throw new SettingsError(`--context ${context} is longer than the model's ${positions} positions`);
}

export const languageSettings = z.object({
  ...experimentShape("windows"),
  ...grouped("Model and data", {
    column: text("column that holds the text").default("text"),
    encoding: text("encoding of files of text, such as windows-1252 (default: utf-8)").optional(),
    context: count("length of a window", "tokens").default(1024),
    wholeWindows: z
      .boolean()
      .default(false)
      .meta({ description: "evaluate on whole windows only, as published tables do, without the end of the text" }),
  }),
});

export type LanguageSettings = z.output<typeof languageSettings>;
