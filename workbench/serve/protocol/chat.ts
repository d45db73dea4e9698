// Requests and answers of /v1/chat/completions.

import { z } from "@hono/zod-openapi";
import type { ChatMessage } from "../../data/index.ts";
import { FinishReason, GENERATION_FIELDS, MOST_LIKELIEST, Usage } from "./sampling.ts";

const TextPart = z.looseObject({ type: z.literal("text", { error: 'expected "text"' }), text: z.string() });
const CONTENT = "expected a text, or a list of parts of type text";

/** A message of a chat. Other fields are passed to the chat template. */
export const Message = z
  .looseObject({
    role: z.string().min(1),
    content: z.union([z.string(), z.array(TextPart)], { error: CONTENT }).nullish(),
  })
  .openapi("Message");

const NO_TOOLS = "expected none: calls of tools are not supported";

/** A request of /v1/chat/completions. */
export const ChatRequest = z
  .object({
    ...GENERATION_FIELDS,
    messages: z.array(Message).min(1, { error: "expected at least one message" }),
    max_tokens: z.int().min(1).nullish().openapi({ description: "Default: as many as fit" }),
    max_completion_tokens: z.int().min(1).nullish().openapi({ description: "overrides max_tokens" }),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(MOST_LIKELIEST).nullish(),
    tools: z.array(z.unknown()).max(0, { error: NO_TOOLS }).nullish(),
    response_format: z
      .looseObject({ type: z.literal("text", { error: 'expected "text": answers of a given form are not supported' }) })
      .nullish(),
    chat_template_kwargs: z
      .record(z.string(), z.unknown())
      .nullish()
      .openapi({ description: "not in OpenAI's protocol: variables of the chat template" }),
  })
  .openapi("ChatRequest");

const Likely = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()).nullable() });

/** Log-probabilities of the tokens of an answer. */
export const ChatLogprobs = z
  .object({ content: z.array(Likely.extend({ top_logprobs: z.array(Likely) })) })
  .openapi("ChatLogprobs");

const HEAD = { id: z.string(), created: z.int(), model: z.string() };
const CHOICE = { index: z.int(), logprobs: ChatLogprobs.nullable(), finish_reason: FinishReason.nullable() };

/** An answer of /v1/chat/completions. */
export const ChatCompletion = z
  .object({
    ...HEAD,
    object: z.literal("chat.completion"),
    choices: z.array(z.object({ ...CHOICE, message: z.object({ role: z.literal("assistant"), content: z.string() }) })),
    usage: Usage,
  })
  .openapi("ChatCompletion");

/** A piece of an answer in a stream. */
export const ChatChunk = z
  .object({
    ...HEAD,
    object: z.literal("chat.completion.chunk"),
    choices: z.array(
      z.object({
        ...CHOICE,
        delta: z.object({ role: z.literal("assistant").optional(), content: z.string().optional() }),
      }),
    ),
    usage: Usage.nullable().optional(),
  })
  .openapi("ChatCompletionChunk");

/** The messages as a chat template gets them: with a text each. */
export const messagesOf = (messages: readonly z.infer<typeof Message>[]): ChatMessage[] =>
  messages.map(({ content, ...others }) => ({
    ...others,
    role: String(others.role),
    content: typeof content === "string" ? content : (content ?? []).map(({ text }) => text).join(""),
  }));
