// /v1/completions: continues texts, or scores them.

import { randomUUID } from "node:crypto";
import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import { invalid } from "../../web/api-error.ts";
import { Completion, type CompletionLogprobs, CompletionRequest, promptsOf } from "../protocol/completions.ts";
import { expectTexts, settingsOf, tokensWithin } from "../protocol/sampling.ts";
import type { ScoredToken } from "../scheduler/log-probabilities.ts";
import type { AppEnv, Service, Visit } from "../service.ts";
import type { ChoiceEvent, ChoiceRequest } from "../texts/choices.ts";
import type { ServedModel } from "../texts/served-model.ts";
import { sendPieces } from "./answer.ts";
import { describedRoute } from "./described.ts";
import { finishReasonOf, UsageCount } from "./usage.ts";

type Request = z.infer<typeof CompletionRequest>;
type Logprobs = z.infer<typeof CompletionLogprobs>;

const USUAL_TOKENS = 16;

const route = createRoute(
  describedRoute({
    path: "/v1/completions",
    summary: "Continue texts, or report the log-probabilities of their tokens",
    request: CompletionRequest,
    answer: Completion,
    streams: true,
  }),
);

/** Adds the route. @param onFault called with an error that a client did not cause */
export function addCompletions(app: OpenAPIHono<AppEnv>, service: Service, onFault: (error: unknown) => void): void {
  app.openapi(route, async (c) => {
    const request = c.req.valid("json");
    const model = service.model(request.model);
    const choices = choicesOf(model, request);
    const visit = service.enter(c, request.user);
    const answer = new CompletionAnswer(model, request, choices);
    const pieces = answer.pieces(
      service.generate(
        model,
        choices.map(({ asked }) => asked),
        visit,
      ),
    );
    if (request.stream) return sendPieces(c, visit, { pieces, onFault }) as never;
    return c.json(await whole(answer, pieces, visit), 200);
  });
}

type Piece = z.infer<typeof Completion>;

/** Joins all pieces of an answer. */
async function whole(answer: CompletionAnswer, pieces: AsyncIterable<Piece>, visit: Visit): Promise<Piece> {
  const joined = answer.empty();
  try {
    for await (const piece of pieces) for (const part of piece.choices) answer.join(joined, part);
    return { ...joined, usage: answer.usage.body };
  } finally {
    visit.end();
  }
}

/** One text of the answer. */
interface Choice {
  asked: ChoiceRequest;
  /** the prompt as text, if it is repeated */
  echo: string | undefined;
}

function choicesOf(model: ServedModel, request: Request): Choice[] {
  const prompts = promptsOf(request.prompt);
  const copies = request.n ?? 1;
  expectTexts(prompts.length * copies, "prompt");
  const { settings, stops, seed } = settingsOf(request, model);
  const likeliest = request.logprobs ?? undefined;
  return prompts.flatMap((prompt) => {
    const ids = idsOf(model, prompt);
    const asked = request.max_tokens ?? USUAL_TOKENS;
    const tokens = tokensWithin(model, { prompt: ids.length, asked, param: "prompt" });
    const echo = request.echo ? (typeof prompt === "string" ? prompt : model.tokenizer.decode(ids)) : undefined;
    const scorePrompt = echo !== undefined && likeliest !== undefined;
    const endOfText = request.ignore_eos ? [] : model.endOfText;
    const shared = { prompt: ids, tokens, settings, endOfText, stops, likeliest, scorePrompt, continued: true };
    return Array.from({ length: copies }, (_, copy) => ({ asked: { ...shared, seed: seed + copy }, echo }));
  });
}

/** The token ids of a prompt. @throws ApiError if an id is not in the vocabulary, or a prompt has no token */
function idsOf(model: ServedModel, prompt: string | number[]): number[] {
  const ids = typeof prompt === "string" ? model.encode(prompt) : prompt;
  if (ids.length === 0) throw invalid("prompt: is empty, and the model has no token that begins a text", "prompt");
  model.expectIds(ids, "prompt");
  return ids;
}

type Part = Piece["choices"][number];

/** Makes the answer of one request from what happens to its texts. */
class CompletionAnswer {
  readonly usage: UsageCount;
  readonly #model: ServedModel;
  readonly #request: Request;
  readonly #choices: readonly Choice[];
  readonly #head: Omit<Piece, "choices">;
  /** length of each text so far, in characters, for the offsets of tokens */
  readonly #lengths: number[];

  constructor(model: ServedModel, request: Request, choices: readonly Choice[]) {
    this.#model = model;
    this.#request = request;
    this.#choices = choices;
    // The copies of a prompt are processed each, but it is one prompt of the request.
    const copies = request.n ?? 1;
    this.usage = new UsageCount(choices.filter((_, i) => i % copies === 0).map(({ asked }) => asked.prompt.length));
    this.#head = { id: `cmpl-${randomUUID()}`, object: "text_completion", created: now(), model: model.name };
    this.#lengths = choices.map(() => 0);
  }

  /** The answer before its first piece. */
  empty(): Piece {
    const logprobs = () => (this.#request.logprobs == null ? null : noLogprobs());
    const choices = this.#choices.map((_, index) => ({ index, text: "", logprobs: logprobs(), finish_reason: null }));
    return { ...this.#head, choices };
  }

  /** Adds a part of a piece to the answer. */
  join({ choices }: Piece, { index, text, logprobs, finish_reason: reason }: Part): void {
    const choice = choices[index] as Part;
    choice.text += text;
    choice.finish_reason = reason ?? choice.finish_reason;
    if (!logprobs || !choice.logprobs) return;
    // One by one, because a list of all tokens of a prompt can be longer than the arguments of a function.
    for (const name of Object.keys(logprobs) as (keyof Logprobs)[]) {
      for (const value of logprobs[name]) (choice.logprobs[name] as unknown[]).push(value);
    }
  }

  /** The pieces of the answer. */
  async *pieces(events: AsyncIterable<ChoiceEvent>): AsyncGenerator<Piece> {
    for (const [index, choice] of this.#choices.entries())
      if (choice.echo !== undefined) yield this.#echoed(index, choice);
    for await (const event of events) {
      this.usage.count(event);
      const piece = this.#pieceOf(event);
      if (piece) yield piece;
    }
    if (this.#request.stream_options?.include_usage) yield { ...this.#head, choices: [], usage: this.usage.body };
  }

  /** The prompt, whose first token has no log-probability. */
  #echoed(index: number, { asked, echo = "" }: Choice): Piece {
    const first = asked.prompt[0] as number;
    const logprobs = asked.scorePrompt ? this.#logprobs(index, [{ id: first, scored: undefined }]) : null;
    return this.#piece({ index, text: echo, logprobs, finish_reason: null });
  }

  #pieceOf(event: ChoiceEvent): Piece | undefined {
    const { index, kind } = event;
    if (kind === "end")
      return this.#piece({ index, text: "", logprobs: null, finish_reason: finishReasonOf(event.reason) });
    if (kind === "prompt") {
      const logprobs = this.#logprobs(
        index,
        event.tokens.map((scored) => ({ id: scored.id, scored })),
      );
      return this.#piece({ index, text: "", logprobs, finish_reason: null });
    }
    const { text, token } = event;
    const logprobs = token?.scored ? this.#logprobs(index, [token]) : null;
    if (text === "" && !logprobs) return undefined;
    return this.#piece({ index, text, logprobs, finish_reason: null });
  }

  #piece(part: Part): Piece {
    return { ...this.#head, choices: [part] };
  }

  #logprobs(index: number, tokens: readonly { id: number; scored: ScoredToken | undefined }[]): Logprobs {
    const found = noLogprobs();
    for (const { id, scored } of tokens) {
      const name = this.#model.nameOf(id);
      found.tokens.push(name);
      found.token_logprobs.push(scored?.logProbability ?? null);
      found.top_logprobs.push(scored ? this.#topOf(name, scored) : null);
      found.text_offset.push(this.#lengths[index] as number);
      this.#lengths[index] = (this.#lengths[index] as number) + name.length;
    }
    return found;
  }

  /** The likeliest tokens and the token itself, by name. Of tokens with the same name the likelier one counts. */
  #topOf(name: string, { logProbability, likeliest }: ScoredToken): Record<string, number> {
    const names = new Map<string, number>();
    for (const { id, logProbability: value } of likeliest) {
      const other = this.#model.nameOf(id);
      if (!names.has(other)) names.set(other, value);
    }
    return Object.fromEntries(names.has(name) ? names : [...names, [name, logProbability]]);
  }
}

const noLogprobs = (): Logprobs => ({ tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] });

const now = (): number => Math.floor(Date.now() / 1000);
