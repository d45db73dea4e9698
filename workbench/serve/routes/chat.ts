// /v1/chat/completions: answers the last message of a chat, which the chat template of the model turns into text.

import { randomUUID } from "node:crypto";
import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import { invalid } from "../../web/api-error.ts";
import { type ChatChunk, ChatCompletion, type ChatLogprobs, ChatRequest, messagesOf } from "../protocol/chat.ts";
import { expectTexts, settingsOf, tokensWithin } from "../protocol/sampling.ts";
import type { Likely, ScoredToken } from "../scheduler/log-probabilities.ts";
import type { AppEnv, Service, Visit } from "../service.ts";
import type { ChoiceEvent, ChoiceRequest } from "../texts/choices.ts";
import type { RenderedChat, ServedModel } from "../texts/served-model.ts";
import { sendPieces } from "./answer.ts";
import { describedRoute } from "./described.ts";
import { finishReasonOf, UsageCount } from "./usage.ts";

type Request = z.infer<typeof ChatRequest>;
type Chunk = z.infer<typeof ChatChunk>;
type Part = Chunk["choices"][number];
type Logprobs = z.infer<typeof ChatLogprobs>;

const route = createRoute(
  describedRoute({
    path: "/v1/chat/completions",
    summary: "Answer the last message of a chat",
    request: ChatRequest,
    answer: ChatCompletion,
    streams: true,
  }),
);

/** Adds the route. @param onFault called with an error that a client did not cause */
export function addChat(app: OpenAPIHono<AppEnv>, service: Service, onFault: (error: unknown) => void): void {
  app.openapi(route, async (c) => {
    const request = c.req.valid("json");
    const model = service.model(request.model);
    const choices = choicesOf(model, request);
    const visit = service.enter(c, request.user);
    const answer = new ChatAnswer(model, request, choices);
    const events = service.generate(model, choices, visit);
    if (request.stream) return sendPieces(c, visit, { pieces: answer.chunks(events), onFault }) as never;
    return c.json(await whole(answer, events, visit), 200);
  });
}

async function whole(answer: ChatAnswer, events: AsyncIterable<ChoiceEvent>, visit: Visit) {
  try {
    return await answer.whole(events);
  } finally {
    visit.end();
  }
}

function choicesOf(model: ServedModel, request: Request): ChoiceRequest[] {
  const copies = request.n ?? 1;
  expectTexts(copies, "n");
  if (request.top_logprobs != null && !request.logprobs) throw invalid("top_logprobs: needs logprobs", "top_logprobs");
  const prompt = renderedFor(model, request).ids;
  const asked = request.max_completion_tokens ?? request.max_tokens ?? undefined;
  const tokens = tokensWithin(model, { prompt: prompt.length, asked, param: "messages" });
  const { settings, stops, seed } = settingsOf(request, model);
  const likeliest = request.logprobs ? (request.top_logprobs ?? 0) : undefined;
  const endOfText = request.ignore_eos ? [] : model.endOfAnswer;
  const shared = { prompt, tokens, settings, endOfText, stops, likeliest, scorePrompt: false, continued: false };
  return Array.from({ length: copies }, (_, copy) => ({ ...shared, seed: seed + copy }));
}

function renderedFor(model: ServedModel, { messages, chat_template_kwargs: variables }: Request): RenderedChat {
  const rendered = model.renderChat(messagesOf(messages), { variables: variables ?? {} });
  if (!rendered) throw invalid(`${model.name} has no chat template, so it cannot chat; use /v1/completions`, "model");
  if (rendered.ids.length === 0) throw invalid("messages: the chat template makes an empty text of them", "messages");
  return rendered;
}

/** Makes the answer of one request from what happens to its texts. */
class ChatAnswer {
  readonly #model: ServedModel;
  readonly #request: Request;
  readonly #count: number;
  readonly #usage: UsageCount;
  readonly #head: { id: string; created: number; model: string };

  constructor(model: ServedModel, request: Request, choices: readonly ChoiceRequest[]) {
    this.#model = model;
    this.#request = request;
    this.#count = choices.length;
    // All texts continue one prompt.
    this.#usage = new UsageCount([choices[0]?.prompt.length ?? 0]);
    this.#head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: model.name };
  }

  /** The answer in pieces. */
  async *chunks(events: AsyncIterable<ChoiceEvent>): AsyncGenerator<Chunk> {
    for (let index = 0; index < this.#count; index++) {
      yield this.#chunk([{ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }]);
    }
    for await (const event of events) {
      this.#usage.count(event);
      const part = this.#partOf(event);
      if (part) yield this.#chunk([part]);
    }
    if (this.#request.stream_options?.include_usage) yield { ...this.#chunk([]), usage: this.#usage.body };
  }

  /** The answer as a whole. */
  async whole(events: AsyncIterable<ChoiceEvent>): Promise<z.infer<typeof ChatCompletion>> {
    const choices = Array.from({ length: this.#count }, (_, index) => ({
      index,
      message: { role: "assistant" as const, content: "" },
      logprobs: this.#request.logprobs ? ({ content: [] } as Logprobs) : null,
      finish_reason: null as Part["finish_reason"],
    }));
    for await (const event of events) {
      this.#usage.count(event);
      const part = this.#partOf(event);
      const choice = choices[event.index];
      if (!part || !choice) continue;
      choice.message.content += part.delta.content ?? "";
      choice.logprobs?.content.push(...(part.logprobs?.content ?? []));
      choice.finish_reason = part.finish_reason ?? choice.finish_reason;
    }
    return { ...this.#head, object: "chat.completion", choices, usage: this.#usage.body };
  }

  #chunk(choices: Part[]): Chunk {
    return { ...this.#head, object: "chat.completion.chunk", choices };
  }

  #partOf(event: ChoiceEvent): Part | undefined {
    const { index } = event;
    if (event.kind === "prompt") return undefined;
    if (event.kind === "end") {
      return { index, delta: {}, logprobs: null, finish_reason: finishReasonOf(event.reason) };
    }
    const { text, token } = event;
    const logprobs = token?.scored ? { content: [this.#scored(token.scored)] } : null;
    if (text === "" && !logprobs) return undefined;
    return { index, delta: { content: text }, logprobs, finish_reason: null };
  }

  #scored({ likeliest, ...token }: ScoredToken): Logprobs["content"][number] {
    return { ...this.#likely(token), top_logprobs: likeliest.map((each) => this.#likely(each)) };
  }

  #likely({ id, logProbability }: Likely) {
    const { nameOf, tokenizer } = this.#model;
    const token = nameOf(id);
    const bytes = tokenizer.bytesOf?.(id) ?? new TextEncoder().encode(token);
    return { token, logprob: logProbability, bytes: Array.from(bytes) };
  }
}
