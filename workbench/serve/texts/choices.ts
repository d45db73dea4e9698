// The texts that answer one request, generated in the batch: one for each prompt, or several of them. Tokens become text
// here, and stop strings end it.

import { type TextStream, textStream } from "../../data/index.ts";
import type { SamplingSettings } from "../../models/index.ts";
import type { ScoredToken } from "../scheduler/log-probabilities.ts";
import type { EndReason, GeneratedToken, SequenceListener } from "../scheduler/sequence.ts";
import { channel } from "./channel.ts";
import type { ServedModel } from "./served-model.ts";

/** A text that is asked for. */
export interface ChoiceRequest {
  prompt: readonly number[];
  /** maximum number of tokens; 0 for none */
  tokens: number;
  settings: SamplingSettings;
  seed: number;
  endOfText: readonly number[];
  /** texts that end the text and are not a part of it */
  stops: readonly string[];
  /** number of likeliest tokens beside each token. Default: no log-probabilities */
  likeliest?: number | undefined;
  scorePrompt: boolean;
  /** whether the text follows the prompt, so that a space at its start is kept */
  continued: boolean;
}

/** What happens to one of the texts of a request; `index` tells which. */
export type ChoiceEvent = { index: number } & (
  | { kind: "prompt"; tokens: readonly ScoredToken[] }
  /** text, which can be empty, and the token that completes it; none at the end of the text */
  | { kind: "text"; text: string; token?: GeneratedToken }
  | { kind: "end"; reason: EndReason }
);

/**
 * Generates texts. If the reader stops or the signal is aborted, they leave the batch.
 * @param options.client who asks, for the order of the queue
 * @throws ShapeError if a setting is out of range; what a sequence failed with; the reason of the signal
 */
export async function* generateChoices(
  model: ServedModel,
  requests: readonly ChoiceRequest[],
  { client, signal }: { client: string; signal: AbortSignal },
): AsyncGenerator<ChoiceEvent> {
  const events = channel<ChoiceEvent>();
  const cancels: (() => void)[] = [];
  const abort = () => events.fail(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    signal.throwIfAborted();
    let left = requests.length;
    for (const [index, request] of requests.entries()) {
      const listener = listenerFor(model, request, {
        push: (event) => events.push({ index, ...event }),
        end() {
          left--;
          if (left === 0) events.end();
        },
        fail: events.fail,
      });
      cancels.push(model.scheduler.submit({ ...request, client }, listener));
    }
    yield* events;
  } finally {
    signal.removeEventListener("abort", abort);
    for (const cancel of cancels) cancel();
  }
}

type OwnEvent = ChoiceEvent extends infer Each ? (Each extends unknown ? Omit<Each, "index"> : never) : never;

interface Sink {
  push(event: OwnEvent): void;
  end(): void;
  fail(error: unknown): void;
}

function listenerFor(model: ServedModel, request: ChoiceRequest, { push, end, fail }: Sink): SequenceListener {
  const stream = streamFor(model, request);
  return {
    prompt: (tokens) => push({ kind: "prompt", tokens }),
    token(token) {
      const text = token.ends ? "" : stream.push(token.id);
      push({ kind: "text", text, token });
      return stream.stopped;
    },
    ended(reason) {
      const rest = stream.end();
      if (rest !== "") push({ kind: "text", text: rest });
      push({ kind: "end", reason: stream.stopped ? "stop" : reason });
      end();
    },
    failed: fail,
  };
}

function streamFor({ tokenizer }: ServedModel, { prompt, continued, stops }: ChoiceRequest): TextStream {
  const decoder = tokenizer.streamDecoder({ after: continued ? prompt : [] });
  return textStream(decoder, { stops });
}
