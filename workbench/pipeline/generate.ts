// The stages of generation: a language model is opened with all that generating text needs, and its text is generated
// piece by piece.

import { openTokenizer, type TextStream, type Tokenizer, textStream } from "../data/index.ts";
import { readConfigFields } from "../models/folder/load.ts";
import {
  type DraftCounts,
  forInference,
  type GenerateOptions,
  type GenerationConfig,
  type GenerationSession,
  generationConfigOf,
  generationSession,
  isLanguageModel,
  languageSizes,
  type Model,
  type WeightType,
} from "../models/index.ts";
import { load } from "./load.ts";
import { type PipelineEvent, StageError } from "./stage.ts";

/** A language model that generates text. Must be disposed of. */
export interface TextGenerator {
  readonly folder: string;
  readonly tokenizer: Tokenizer;
  /** settings of the folder, with the tokens of config.json that begin and end a text where it has no others */
  readonly config: GenerationConfig & { readonly endOfText: readonly number[] };
  /** the model in the form that is fastest in generation */
  readonly model: Model;
  /** longest sequence, in tokens */
  readonly positions: number;
  /** number of token ids */
  readonly vocabulary: number;
  /** keeps what the model has processed between texts */
  readonly session: GenerationSession;
  dispose(): void;
}

interface OpenOptions {
  /** name of the model, for errors */
  name: string;
  /** whether the settings in generation_config.json are ignored. Default false */
  plain?: boolean;
  /** number type of dense weights in memory. Default float32 */
  dtype?: WeightType | undefined;
  /** size of a model of several sizes, as a share of the linear parameters. Default: it is not cut */
  keep?: number | undefined;
  /** model folder of a smaller model that proposes tokens, see `SessionOptions.draft`, and most tokens at once */
  draft?: { folder: string; name: string; tokens?: number | undefined } | undefined;
}

/**
 * Opens a model folder for generation, in the open engine.
 * @throws StageError if the model is not a language model
 * @throws ModelError, SafetensorsError or DataError if the folder cannot be read or has settings that are not supported
 */
export async function* openGenerator(
  folder: string,
  { name, plain = false, dtype, keep, draft: asked }: OpenOptions,
): AsyncGenerator<PipelineEvent, TextGenerator> {
  await expectLanguageModel(folder, name);
  if (asked) await expectLanguageModel(asked.folder, asked.name);
  const tokenizer = await openTokenizer(folder);
  const config = await generationConfigOf(folder, { plain });
  const loaded = yield* load(folder, { dtype, keep });
  const own: { dispose(): void }[] = [loaded];
  try {
    const model = kept(own, await forInference(loaded, { rows: "few" }));
    const drafting = asked && kept(own, yield* load(asked.folder, { dtype }));
    const draft = drafting && {
      model: kept(own, await forInference(drafting, { rows: "few" })),
      tokens: asked?.tokens,
    };
    const session = kept(own, generationSession(model, { draft }));
    const begin = config.beginOfText ?? loaded.json.bos_token_id;
    const { positions, vocabulary, endOfText } = languageSizes(model);
    return {
      folder,
      tokenizer,
      config: {
        ...config,
        endOfText: config.endOfText ?? endOfText,
        beginOfText: Number.isInteger(begin) ? (begin as number) : undefined,
      },
      model,
      positions,
      vocabulary,
      session,
      dispose: () => disposeAll(own),
    };
  } catch (error) {
    disposeAll(own);
    throw error;
  }
}

function kept<Held extends { dispose(): void }>(own: { dispose(): void }[], held: Held): Held {
  own.push(held);
  return held;
}

function disposeAll(own: readonly { dispose(): void }[]): void {
  for (const held of own.toReversed()) held.dispose();
}

/** Checks the architecture first: a classifier has no tokenizer, whose absence would be reported otherwise. */
async function expectLanguageModel(folder: string, name: string): Promise<void> {
  const { architecture } = await readConfigFields(folder);
  if (isLanguageModel({ architecture })) return;
  const problem = `${name} is a ${architecture.type}, not a language model`;
  throw new StageError(`${problem}; give a language model such as a GPT-2 or Llama`);
}

/** A text to continue. */
export interface Prompt {
  text: string;
  ids: ArrayLike<number>;
  /** whether the text is shown after the prompt, so that a space at its start is kept. Default false */
  continued?: boolean;
}

/** How a text is generated. */
export interface TextOptions extends Omit<GenerateOptions, "stop"> {
  /** texts that end the text. They are not a part of it. Default: none */
  stopStrings?: readonly string[];
}

/** Why a text ended. */
export type StopReason = "tokens" | "end of text" | "stop string" | "positions";

/** A text that was generated. */
export interface GeneratedText {
  /** without the prompt and without the stop string */
  text: string;
  /** tokens that were generated, those of the stop string too */
  ids: number[];
  stopped: StopReason;
  /** with a draft: number of tokens that it has proposed, and of those that were kept */
  draft?: DraftCounts;
}

/** What generating a text needs of a generator. */
interface TextMaker extends Pick<TextGenerator, "session" | "tokenizer"> {
  config: Pick<TextGenerator["config"], "endOfText" | "beginOfText">;
}

/**
 * Generates a text. Yields its pieces, of which some are empty.
 * @throws ShapeError if the prompt does not fit the model or a setting is out of range; the reason of the signal
 */
export async function* generateText(
  { session, tokenizer, config }: TextMaker,
  prompt: Prompt,
  { stopStrings = [], endOfText = config.endOfText, ...options }: TextOptions,
): AsyncGenerator<string, GeneratedText> {
  const decoder = tokenizer.streamDecoder({ after: prompt.continued ? prompt.ids : [] });
  const stream = textStream(decoder, { stops: stopStrings, before: prompt.text });
  const made: GeneratedText = { text: "", ids: [], stopped: "tokens" };
  const show = (text: string) => {
    made.text += text;
    return text;
  };
  const ids = prompt.ids.length === 0 && config.beginOfText !== undefined ? [config.beginOfText] : prompt.ids;
  for await (const event of session.generate(ids, { ...options, endOfText, stop: () => stream.stopped })) {
    if (event.kind === "stopped") {
      made.stopped = reasonOf(event.reason, stream);
      if (event.draft) made.draft = event.draft;
      continue;
    }
    made.ids.push(event.id);
    yield show(stream.push(event.id));
  }
  yield show(stream.end());
  return made;
}

const reasonOf = (reason: "tokens" | "end of text" | "stop" | "positions", { stopped }: TextStream): StopReason =>
  stopped || reason === "stop" ? "stop string" : reason;

/** What `sampleText` continues, and with how many tokens at most. */
interface SampleRequest {
  tokenizer: Tokenizer;
  prompt: string;
  tokens: number;
  signal?: AbortSignal | undefined;
}

/**
 * A text that a model in training writes, always with its likeliest token. A prompt that is longer than the model's positions
 * is cut at its start.
 */
export async function sampleText(
  training: Model,
  { tokenizer, prompt, tokens, signal }: SampleRequest,
): Promise<{ prompt: string; text: string }> {
  const { positions, vocabulary, endOfText: ends } = languageSizes(training);
  // Many models have more ids than their tokenizers. One that is trained little may choose them: its text ends there.
  const padding = Math.max(0, vocabulary - tokenizer.vocabSize);
  const endOfText = [...ends, ...Array.from({ length: padding }, (_, i) => tokenizer.vocabSize + i)];
  const own: { dispose(): void }[] = [];
  try {
    const model = kept(own, await forInference(training, { rows: "few" }));
    const session = kept(own, generationSession(model));
    const config = { endOfText, beginOfText: undefined };
    // With the token that Llama's tokenizers put before each text.
    const ids = tokenizer.encode(prompt, { specialTokens: true }).slice(-positions);
    const pieces = generateText(
      { session, tokenizer, config },
      { text: prompt, ids, continued: true },
      { tokens, temperature: 0, ...(signal && { signal }) },
    );
    for (;;) {
      const { done, value } = await pieces.next();
      if (done) return { prompt, text: value.text };
    }
  } finally {
    disposeAll(own);
  }
}
