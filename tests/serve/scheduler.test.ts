// Continuous batching: every text of a batch is the text that its prompt has alone, whoever joins, leaves or waits; prompts
// are scored as by the loss; clients take turns; those who go give their pages back.

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { PAGE } from "../../workbench/architectures/parts/paged-cache.ts";
import { createModel, generateTokens, gpt2, languageNll, type Model } from "../../workbench/models/index.ts";
import type { ScoredToken } from "../../workbench/serve/scheduler/log-probabilities.ts";
import { Scheduler, type SchedulerOptions, type TurnFacts } from "../../workbench/serve/scheduler/scheduler.ts";
import type { EndReason, SequenceRequest } from "../../workbench/serve/scheduler/sequence.ts";
import { forEachEngine } from "../engine/engines.ts";
import { livelier, TINY } from "../models/tiny.ts";

const VOCABULARY = 40;
const USUAL = { concurrency: 4, cacheTokens: 8 * PAGE, promptTokens: 16 };

const prompt = (length: number, salt: number) => Array.from({ length }, (_, i) => (7 * i * salt + 11 * salt + 3) % 40);

const asked = (request: Partial<SequenceRequest> & { prompt: readonly number[] }): SequenceRequest => ({
  client: "a",
  tokens: 12,
  settings: { temperature: 0 },
  seed: 0,
  endOfText: [],
  scorePrompt: false,
  ...request,
});

interface Heard {
  ids: number[];
  scored: ScoredToken[];
  end: EndReason;
}

interface Ears {
  onToken?: (id: number) => boolean;
}

/** Submits a text. @returns what is heard of it, and cancels it */
function submitted(scheduler: Scheduler, request: SequenceRequest, { onToken }: Ears = {}) {
  let cancel = () => {};
  const heard = new Promise<Heard>((resolve, reject) => {
    const [ids, scored]: [number[], ScoredToken[]] = [[], []];
    cancel = scheduler.submit(request, {
      prompt: (tokens) => void scored.push(...tokens),
      token({ id }) {
        ids.push(id);
        return onToken?.(id) ?? false;
      },
      ended: (end) => resolve({ ids, scored, end }),
      failed: reject,
    });
  });
  return { heard, cancel: () => cancel() };
}

async function alone(model: Model, request: SequenceRequest): Promise<number[]> {
  const { prompt, tokens, settings, seed, endOfText } = request;
  const ids: number[] = [];
  for await (const event of generateTokens(model, prompt, { ...settings, tokens, seed, endOfText })) {
    if (event.kind === "token") ids.push(event.id);
  }
  return ids;
}

forEachEngine("a scheduler", (_, { name }) => {
  let model: Model;
  const opened: Scheduler[] = [];
  const open = (options: Partial<SchedulerOptions> = {}) => {
    const scheduler = new Scheduler(model, { ...USUAL, ...options });
    opened.push(scheduler);
    return scheduler;
  };
  beforeAll(() => {
    const config = { ...TINY, n_positions: 3 * PAGE, vocab_size: VOCABULARY };
    model = livelier(createModel(gpt2, config, { seed: 1 })) as unknown as Model;
  });
  afterAll(async () => {
    for (const scheduler of opened) await scheduler.dispose();
    model.dispose();
  });
  const heavy = test.skipIf(name === "cpu");

  heavy("gives each of many texts the tokens that it has alone, greedy and sampled", async () => {
    const scheduler = open();
    const requests = [3, 40, 1, 17, 90, 5, 22].map((length, i) =>
      asked({
        prompt: prompt(length, i + 1),
        tokens: 6 + 3 * i,
        seed: i,
        settings: i % 2 === 0 ? { temperature: 0 } : { temperature: 0.8, topK: 10, repetitionPenalty: 1.1 },
      }),
    );
    const heard = await Promise.all(requests.map((request) => submitted(scheduler, request).heard));
    for (const [i, request] of requests.entries()) {
      expect(heard[i]?.ids).toEqual(await alone(model, request));
      expect(heard[i]?.end).toBe("tokens");
    }
    expect(scheduler.load).toEqual({ running: 0, waiting: 0, pages: 8, usedPages: 0 });
  });

  heavy("sends texts back to the queue when the cache is full, and they go on where they were", async () => {
    const scheduler = open({ cacheTokens: 3 * PAGE });
    const requests = [60, 61, 62].map((length, i) => asked({ prompt: prompt(length, i + 1), tokens: 80, seed: i }));
    const heard = await Promise.all(requests.map((request) => submitted(scheduler, request).heard));
    for (const [i, request] of requests.entries()) expect(heard[i]?.ids).toEqual(await alone(model, request));
  });

  heavy("scores prompts as the loss does, in turns of a few tokens, and names the likeliest tokens", async () => {
    const scheduler = open({ promptTokens: 7 });
    const request = asked({ prompt: prompt(30, 5), tokens: 0, scorePrompt: true, likeliest: 3 });
    const others = [asked({ prompt: prompt(9, 2) }), asked({ prompt: prompt(25, 3) })];
    const [{ scored, ids, end }] = (await Promise.all(
      [request, ...others].map((each) => submitted(scheduler, each).heard),
    )) as [Heard, Heard, Heard];
    const nll = tf.tidy(() => languageNll(model, tf.tensor2d([[...request.prompt]], undefined, "int32")));
    const expected = await nll.data();
    nll.dispose();
    expect({ ids, end, count: scored.length }).toEqual({ ids: [], end: "tokens", count: 29 });
    for (const [i, { id, logProbability, likeliest }] of scored.entries()) {
      expect(id).toBe(request.prompt[i + 1] as number);
      expect(Math.abs(logProbability + (expected[i] as number))).toBeLessThan(1e-4);
      expect(likeliest.length).toBe(3);
      const values = likeliest.map(({ logProbability: value }) => value);
      expect(values).toEqual([...values].sort((a, b) => b - a));
      expect(Math.max(logProbability, ...values)).toBe(values[0] as number);
    }
  });

  heavy("ends a text after its end-of-text token, and when the listener says so", async () => {
    const scheduler = open();
    const text = await alone(model, asked({ prompt: prompt(5, 1) }));
    // A token that the text has for the first time behind others.
    const at = text.findIndex((id, i) => i > 0 && !text.slice(0, i).includes(id));
    const last = text[at] as number;
    expect(at).toBeGreaterThan(0);
    const ended = submitted(scheduler, asked({ prompt: prompt(5, 1), endOfText: [last] }));
    const stopped = submitted(scheduler, asked({ prompt: prompt(5, 1) }), { onToken: (id) => id === last });
    expect(await ended.heard).toMatchObject({ ids: text.slice(0, at + 1), end: "end of text" });
    expect(await stopped.heard).toMatchObject({ ids: text.slice(0, at + 1), end: "stop" });
  });

  heavy("lets a newcomer have its first token in the turn after it came, beside a long prompt", async () => {
    const turns: TurnFacts[] = [];
    const scheduler = open({ onTurn: (turn) => turns.push(turn) });
    const running = submitted(scheduler, asked({ prompt: prompt(4, 1), tokens: 40 }), {
      onToken() {
        if (turns.length === 3) void submitted(scheduler, asked({ prompt: prompt(100, 2), tokens: 1 }));
        if (turns.length === 4) {
          const before = turns.length;
          newcomer = new Promise((resolve) => {
            submitted(scheduler, asked({ prompt: prompt(6, 3), tokens: 4 }), {
              onToken() {
                resolve(turns.length - before);
                return true;
              },
            });
          });
        }
        return false;
      },
    });
    let newcomer: Promise<number> | undefined;
    await running.heard;
    // The turn in which it came, and its own.
    expect(await newcomer).toBeLessThanOrEqual(2);
    expect(turns[0]).toMatchObject({ sequences: 1, tokens: 4 });
  });

  heavy("lets clients take turns", async () => {
    const scheduler = open({ concurrency: 1 });
    const order: string[] = [];
    const submit = (client: string, salt: number) =>
      submitted(scheduler, asked({ client, prompt: prompt(3, salt), tokens: 1 }), {
        onToken() {
          order.push(client);
          return false;
        },
      }).heard;
    await Promise.all([submit("a", 1), submit("a", 2), submit("a", 3), submit("a", 4), submit("b", 5), submit("b", 6)]);
    expect(order).toEqual(["a", "b", "a", "b", "a", "a"]);
  });

  heavy("gives the place and the pages of a canceled text to the next", async () => {
    const scheduler = open({ concurrency: 1 });
    let heardOf = 0;
    const running = submitted(scheduler, asked({ prompt: prompt(70, 1), tokens: 60 }), {
      onToken() {
        heardOf++;
        if (heardOf === 2) running.cancel();
        return false;
      },
    });
    const waiting = submitted(scheduler, asked({ prompt: prompt(5, 2), tokens: 60 }));
    waiting.cancel();
    const next = asked({ prompt: prompt(5, 3), tokens: 2 });
    expect((await submitted(scheduler, next).heard).ids).toEqual(await alone(model, next));
    expect(heardOf).toBe(2);
    expect(scheduler.load).toMatchObject({ running: 0, waiting: 0, usedPages: 0 });
  });

  heavy("fails a text whose settings rule out all tokens, and no other", async () => {
    const scheduler = open();
    const suppressTokens = Array.from({ length: VOCABULARY }, (_, id) => id);
    const wrong = submitted(scheduler, asked({ prompt: prompt(5, 1), settings: { temperature: 0, suppressTokens } }));
    const right = asked({ prompt: prompt(6, 2) });
    const heard = submitted(scheduler, right).heard;
    expect(wrong.heard).rejects.toThrow("rule out all tokens");
    expect((await heard).ids).toEqual(await alone(model, right));
  });

  test("refuses a text that cannot fit the cache, and settings out of range", () => {
    const scheduler = open({ cacheTokens: PAGE });
    const listener = { prompt() {}, token: () => false, ended() {}, failed() {} };
    const submit = (request: SequenceRequest) => () => scheduler.submit(request, listener);
    expect(submit(asked({ prompt: prompt(60, 1), tokens: 6 }))).toThrow("at most 65 tokens, got 66");
    expect(submit(asked({ prompt: prompt(6, 1), settings: { temperature: -1 } }))).toThrow("temperature must be");
  });
});
