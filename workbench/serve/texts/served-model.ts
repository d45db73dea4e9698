// A model with all that serving it needs: the tokenizer, the chat template, the settings of its folder, and the scheduler.

import { type ChatMessage, type ChatTemplate, openChatTemplate, readSpecialTokens } from "../../data/index.ts";
import type { GenerationConfig } from "../../models/index.ts";
import { usualContext } from "../../models/index.ts";
import type { TextGenerator } from "../../pipeline/generate.ts";
import { invalid } from "../../web/api-error.ts";
import { Scheduler, type SchedulerOptions, type TurnFacts } from "../scheduler/scheduler.ts";
import { type TokenNames, tokenNames } from "./token-names.ts";

/** How a model is served. */
export interface ServedModelOptions extends Omit<SchedulerOptions, "cacheTokens" | "onTurn"> {
  /** the name by which requests ask for it */
  name: string;
  /** longest prompt and text together, in tokens. Default: the model's positions, at most 2048 */
  context?: number | undefined;
  /** tokens for which the cache has room. Default: four times the context */
  cacheTokens?: number | undefined;
  onTurn?: (turn: TurnFacts) => void;
}

/** A chat as the model reads it. */
export interface RenderedChat {
  text: string;
  ids: number[];
}

/** The texts of special tokens; null if there is none. */
export interface SpecialTokens {
  bos_token: string | null;
  eos_token: string | null;
  pad_token: string | null;
}

interface FolderFiles {
  template: ChatTemplate | undefined;
  special: Readonly<Record<string, string>>;
}

/** A model that is served. Must be disposed of, before its generator. */
export class ServedModel {
  readonly name: string;
  readonly folder: string;
  /** seconds since 1970 */
  readonly created: number;
  readonly tokenizer: TextGenerator["tokenizer"];
  readonly config: GenerationConfig;
  /** tokens that end a text, and those that end an answer in a chat */
  readonly endOfText: readonly number[];
  readonly endOfAnswer: readonly number[];
  readonly context: number;
  readonly vocabulary: number;
  readonly nameOf: TokenNames;
  readonly template: ChatTemplate | undefined;
  readonly special: SpecialTokens;
  readonly scheduler: Scheduler;

  private constructor(generator: TextGenerator, { template, special }: FolderFiles, options: ServedModelOptions) {
    const { name, context = usualContext(generator), cacheTokens, ...others } = options;
    const { tokenizer, config, folder, model } = generator;
    this.name = name;
    this.folder = folder;
    this.created = Math.floor(Date.now() / 1000);
    this.tokenizer = tokenizer;
    this.config = config;
    this.endOfText = config.endOfText;
    // Models that were tuned for chats can have a token that ends a turn in the files of their tokenizer only.
    const { eosTokenId } = tokenizer;
    this.endOfAnswer = [...config.endOfText, ...(eosTokenId === undefined ? [] : [eosTokenId])];
    this.context = Math.min(context, generator.positions);
    this.vocabulary = generator.vocabulary;
    this.nameOf = tokenNames(tokenizer);
    this.template = template;
    const named = (id: number | undefined) => (id === undefined ? null : tokenizer.decode([id]));
    this.special = {
      bos_token: special.bos_token ?? named(config.beginOfText),
      eos_token: special.eos_token ?? named(eosTokenId ?? config.endOfText[0]),
      pad_token: special.pad_token ?? null,
    };
    const room = Math.max(cacheTokens ?? 4 * this.context, this.context);
    this.scheduler = new Scheduler(model, { ...others, cacheTokens: room });
  }

  /** Prepares a model for serving. @throws DataError if its chat template is invalid */
  static async open(generator: TextGenerator, options: ServedModelOptions): Promise<ServedModel> {
    const { folder } = generator;
    const files = { template: await openChatTemplate(folder), special: await readSpecialTokens(folder) };
    return new ServedModel(generator, files, options);
  }

  /** The tokens of a prompt; those of an empty prompt are the token that begins a text. */
  encode(text: string, { specialTokens = true } = {}): number[] {
    return this.orStart(Array.from(this.tokenizer.encode(text, { specialTokens })));
  }

  /** @param param field of the request that has the ids @throws ApiError if an id is not one of a token */
  expectIds(ids: readonly number[], param: string): void {
    const most = Math.min(this.vocabulary, this.tokenizer.vocabSize);
    const wrong = ids.find((id) => id >= most);
    if (wrong !== undefined) throw invalid(`${param}: there is no token ${wrong}, ids are below ${most}`, param);
  }

  /** The tokens, or the one that begins a text if there are none. */
  orStart(ids: readonly number[]): number[] {
    if (ids.length > 0) return [...ids];
    const start = this.config.beginOfText ?? this.endOfText[0];
    return start === undefined ? [] : [start];
  }

  /**
   * Renders a chat.
   * @throws DataError if the template refuses it
   */
  renderChat(
    messages: readonly ChatMessage[],
    options: { variables?: Readonly<Record<string, unknown>>; generationPrompt?: boolean } = {},
  ): RenderedChat | undefined {
    const text = this.template?.render(messages, options);
    // The text of a template has the special tokens.
    return text === undefined ? undefined : { text, ids: Array.from(this.tokenizer.encode(text)) };
  }

  dispose(): Promise<void> {
    return this.scheduler.dispose();
  }
}
