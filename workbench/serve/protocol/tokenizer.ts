// Requests and answers of /tokenize, /detokenize and /tokenizer_info, which are not in OpenAI's protocol. They are those of
// vLLM, whose clients use them to count tokens with the tokenizer of the server.

import { z } from "@hono/zod-openapi";
import { Message } from "./chat.ts";
import { GENERATION_FIELDS } from "./sampling.ts";

const { model } = GENERATION_FIELDS;
const ids = z.array(z.int().min(0));

/** A request of /tokenize: a text or a chat. */
export const TokenizeRequest = z
  .object({
    model,
    prompt: z.string().nullish(),
    messages: z.array(Message).min(1).nullish(),
    add_special_tokens: z.boolean().nullish().openapi({ description: "Default: true for a prompt, false for a chat" }),
    add_generation_prompt: z.boolean().nullish().openapi({ description: "for a chat. Default true" }),
    return_token_strs: z.boolean().nullish(),
    chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
  })
  .refine(({ prompt, messages }) => (prompt == null) !== (messages == null), {
    error: "expected either prompt or messages",
  })
  .openapi("TokenizeRequest");

/** The tokens of a text or a chat. */
export const Tokenized = z
  .object({
    count: z.int(),
    max_model_len: z.int(),
    tokens: ids,
    token_strs: z.array(z.string()).nullable(),
  })
  .openapi("Tokenized");

/** A request of /detokenize. */
export const DetokenizeRequest = z.object({ model, tokens: ids }).openapi("DetokenizeRequest");

/** The text of tokens. */
export const Detokenized = z.object({ prompt: z.string() }).openapi("Detokenized");

/** What a client needs to know of a tokenizer. */
export const TokenizerInfo = z
  .object({
    model: z.string(),
    vocab_size: z.int(),
    max_model_len: z.int(),
    bos_token: z.string().nullable(),
    eos_token: z.string().nullable(),
    pad_token: z.string().nullable(),
    chat_template: z.string().nullable(),
  })
  .openapi("TokenizerInfo");
