// A chat with a language model: the history, rendered by the model's chat template for each answer. What the model has
// processed is kept, so that only the new part of the chat is processed. When the chat no longer fits the model, its
// oldest turns are dropped.

import { type ChatMessage, openChatTemplate } from "../data/index.ts";
import { generateText, type StopReason, type TextGenerator, type TextOptions } from "./generate.ts";
import { StageError } from "./stage.ts";

/** An answer of the model. */
export interface Answer {
  text: string;
  /** number of tokens that were generated */
  tokens: number;
  stopped: StopReason | "interrupted";
  /** length of the rendered chat, in tokens */
  promptTokens: number;
  /** number of turns that were dropped because the chat no longer fits the model */
  dropped: number;
}

/** A chat. Its model is that of the generator, which must outlive it. */
export interface Chat {
  /** the system message if there is one, and the turns: what the user said, and the answer */
  readonly messages: readonly ChatMessage[];
  /**
   * Answers a message. Yields pieces of the answer, of which some are empty. If the signal stops it, the answer so far
   * is a part of the chat.
   * @throws DataError if the template refuses the chat; StageError if the message does not fit the model. The chat is
   * then unchanged
   */
  answer(message: string, signal: AbortSignal): AsyncGenerator<string, Answer>;
  /** Drops all turns. */
  reset(): void;
}

/** How a chat goes. */
export interface ChatOptions {
  /** name of the model, for errors */
  name: string;
  /** message that tells the model how to behave. Default: the template's own, if it has one */
  system?: string | undefined;
  /** further variables of the template, such as `enable_thinking` */
  variables?: Readonly<Record<string, unknown>>;
  /** settings for an answer. @param prompt length of the rendered chat, in tokens */
  settings(prompt: number): TextOptions;
}

type Turn = readonly [user: ChatMessage, assistant: ChatMessage];

/** Share of the positions that is kept free for the answer, if it may have as many tokens. */
const ROOM_FOR_ANSWER = 1 / 4;
/**
 * Share of the positions that a chat has at most after turns were dropped. The rest of it is processed again, which
 * should not be necessary for every answer.
 */
const AFTER_DROPPING = 1 / 2;

/**
 * Starts a chat.
 * @throws StageError if the model has no chat template; DataError if it is invalid
 */
export async function openChat(generator: TextGenerator, options: ChatOptions): Promise<Chat> {
  const template = await openChatTemplate(generator.folder);
  if (!template) {
    throw new StageError(`${options.name} has no chat template, so it cannot chat; use "gblr generate"`);
  }
  const { variables = {} } = options;
  const rendered = (messages: readonly ChatMessage[]): RenderedChat => {
    const text = template.render(messages, { variables });
    return { text, ids: generator.tokenizer.encode(text) };
  };
  // Models that were tuned for chats can have a token that ends a turn in the files of their tokenizer only.
  const { eosTokenId } = generator.tokenizer;
  const endOfText = [...generator.config.endOfText, ...(eosTokenId === undefined ? [] : [eosTokenId])];
  const system = options.system === undefined ? [] : [{ role: "system", content: options.system }];
  let turns: readonly Turn[] = [];
  let answered = 0;
  return {
    get messages() {
      return [...system, ...turns.flat()];
    },
    async *answer(message, signal) {
      const user = { role: "user", content: message };
      const render = (kept: readonly Turn[]) => rendered([...system, ...kept.flat(), user]);
      const { kept, prompt } = fitting(generator, turns, { render, options });
      const settings = options.settings(prompt.ids.length);
      const seed = (settings.seed ?? 0) + answered++;
      const texts = generateText(generator, prompt, { endOfText, ...settings, seed, signal });
      const made = yield* untilInterrupted(texts, signal);
      const dropped = turns.length - kept.length;
      // A template can require an answer after each message, so a message without one is dropped too.
      turns = made.text === "" ? kept : [...kept, [user, { role: "assistant", content: made.text }]];
      return { ...made, promptTokens: prompt.ids.length, dropped };
    },
    reset() {
      turns = [];
    },
  };
}

interface RenderedChat {
  text: string;
  ids: Int32Array;
}

interface Fitting {
  render: (kept: readonly Turn[]) => RenderedChat;
  options: ChatOptions;
}

/** All turns if they fit the model together with an answer, else the latest. @throws StageError if the message does not fit */
function fitting(
  { positions }: TextGenerator,
  turns: readonly Turn[],
  { render, options }: Fitting,
): { kept: readonly Turn[]; prompt: RenderedChat } {
  let kept = turns;
  let prompt = render(kept);
  const fits = ({ ids }: RenderedChat) => {
    if (ids.length > positions) return false;
    const { tokens = positions } = options.settings(ids.length);
    return ids.length + Math.min(tokens, ROOM_FOR_ANSWER * positions) <= positions;
  };
  if (!fits(prompt)) {
    while (kept.length > 0 && prompt.ids.length > AFTER_DROPPING * positions) {
      kept = kept.slice(1);
      prompt = render(kept);
    }
  }
  if (prompt.ids.length <= positions) return { kept, prompt };
  const found = `the message makes a chat of ${prompt.ids.length} tokens`;
  throw new StageError(`${found}, and ${options.name} has ${positions} positions; shorten it`);
}

/** Collects an answer until its end, or until the signal stops it. */
async function* untilInterrupted(
  texts: ReturnType<typeof generateText>,
  signal: AbortSignal,
): AsyncGenerator<string, Pick<Answer, "text" | "tokens" | "stopped">> {
  let [text, pieces] = ["", 0];
  try {
    for (;;) {
      const { value, done } = await texts.next();
      if (done) return { text: value.text, tokens: value.ids.length, stopped: value.stopped };
      text += value;
      pieces++;
      yield value;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    return { text, tokens: pieces, stopped: "interrupted" };
  }
}
