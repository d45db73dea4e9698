// Turns a chat into the text that a model was trained on, with the chat template of its folder. The text is that of
// transformers' `apply_chat_template`.

import { parse, tokenize } from "@huggingface/jinja";
import { DataError, why } from "../errors.ts";
import { formatTime } from "./format-time.ts";
import { withLoopScopes } from "./jinja-loops.ts";
import { renderLimited, TemplateFailed } from "./limited-interpreter.ts";
import { readTemplate } from "./template-files.ts";

/** A message of a chat. Other fields, such as `tool_calls`, are passed to the template. */
export interface ChatMessage {
  role: string;
  content: string;
  [field: string]: unknown;
}

/** How a chat is rendered. */
export interface RenderOptions {
  /** whether the text ends with what begins an answer of the model. Default true */
  generationPrompt?: boolean;
  /** further variables of the template, such as `tools` or `enable_thinking` */
  variables?: Readonly<Record<string, unknown>>;
}

/** The chat template of a model. */
export interface ChatTemplate {
  /** file that has it */
  readonly file: string;
  /** its text, in Jinja */
  readonly text: string;
  /**
   * Renders a chat. The special tokens are part of the text, the first one too: it is encoded without adding others.
   * @throws DataError if the template refuses the chat, as for roles in a wrong order, or fails
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/**
 * Opens the chat template of a model folder.
 * @returns undefined if the folder has none
 * @throws DataError if the template is invalid
 */
export async function openChatTemplate(folder: string): Promise<ChatTemplate | undefined> {
  const source = await readTemplate(folder);
  if (!source) return undefined;
  const { file, text, specialTokens } = source;
  const program = parsed(text, file);
  return {
    file,
    text,
    render(messages, { generationPrompt = true, variables = {} } = {}) {
      const globals = {
        strftime_now: (format: string) => formatTime(new Date(), format),
        messages,
        // As in transformers, which passes None.
        tools: null,
        documents: null,
        add_generation_prompt: generationPrompt,
        ...specialTokens,
        ...variables,
      };
      try {
        return renderLimited(program, globals);
      } catch (error) {
        if (error instanceof TemplateFailed)
          throw new DataError(file, `the template ${error.message}`, { cause: error });
        throw new DataError(file, `the template fails: ${problemOf(error)}`, { cause: error });
      }
    },
  };
}

function parsed(text: string, file: string) {
  try {
    return withLoopScopes(parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true })));
  } catch (error) {
    throw new DataError(file, `has a chat template that is not valid: ${problemOf(error)}`, { cause: error });
  }
}

/** The message of an error of the library, which reads past the last token or exhausts the stack for some templates. */
function problemOf(error: unknown): string {
  if (error instanceof RangeError) return "it is nested too deeply, or makes a text that is too long";
  if (error instanceof TypeError) return "a block or an expression in it is not closed, or a value is of a wrong type";
  return why(error);
}
