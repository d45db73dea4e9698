// /tokenize, /detokenize and /tokenizer_info: the tokenizer of a served model.

import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { invalid } from "../../web/api-error.ts";
import { messagesOf } from "../protocol/chat.ts";
import { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest, TokenizerInfo } from "../protocol/tokenizer.ts";
import type { AppEnv, Service } from "../service.ts";
import type { ServedModel } from "../texts/served-model.ts";
import { describedGet, describedRoute } from "./described.ts";

const tokenize = createRoute(
  describedRoute({
    path: "/tokenize",
    summary: "The tokens of a text or a chat",
    request: TokenizeRequest,
    answer: Tokenized,
  }),
);
const detokenize = createRoute(
  describedRoute({
    path: "/detokenize",
    summary: "The text of tokens",
    request: DetokenizeRequest,
    answer: Detokenized,
  }),
);
const info = createRoute(
  describedGet({ path: "/tokenizer_info", summary: "Special tokens and chat template", answer: TokenizerInfo }),
);

/** Adds the routes. */
export function addTokenizer(app: OpenAPIHono<AppEnv>, service: Service): void {
  app.openapi(tokenize, (c) => {
    const request = c.req.valid("json");
    const model = service.model(request.model);
    const { add_special_tokens: specialTokens } = request;
    const text = request.prompt ?? renderedText(model, request);
    // The text of a chat template has the special tokens.
    const ids = model.tokenizer.encode(text, { specialTokens: specialTokens ?? request.messages == null });
    const tokens = Array.from(ids);
    const names = request.return_token_strs ? tokens.map(model.nameOf) : null;
    return c.json({ count: tokens.length, max_model_len: model.context, tokens, token_strs: names }, 200);
  });
  app.openapi(detokenize, (c) => {
    const request = c.req.valid("json");
    const model = service.model(request.model);
    model.expectIds(request.tokens, "tokens");
    return c.json({ prompt: model.tokenizer.decode(request.tokens) }, 200);
  });
  app.openapi(info, (c) => {
    const model = service.model(c.req.query("model"));
    const { special, template, tokenizer } = model;
    const facts = { model: model.name, vocab_size: tokenizer.vocabSize, max_model_len: model.context };
    return c.json({ ...facts, ...special, chat_template: template?.text ?? null }, 200);
  });
}

function renderedText(
  model: ServedModel,
  {
    messages,
    add_generation_prompt: generationPrompt,
    chat_template_kwargs: variables,
  }: (typeof TokenizeRequest)["_output"],
): string {
  const options = { variables: variables ?? {}, generationPrompt: generationPrompt ?? true };
  const rendered = model.renderChat(messagesOf(messages ?? []), options);
  if (rendered) return rendered.text;
  throw invalid(`${model.name} has no chat template; give a prompt`, "messages");
}
