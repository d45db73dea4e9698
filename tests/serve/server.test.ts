// The server as its clients see it: answers in OpenAI's form, whole and in pieces; errors that name the field; the limits;
// clients that go away. access.test.ts has who may ask.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { generateText } from "../../workbench/pipeline/generate.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { writeChatModel } from "../cli/chat-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { type CompletionAnswer, piecesOf, type Serving, serveFolder } from "./serving.ts";

const at = temporaryFolder();
let served: Serving;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("tiny"), { positions: 512 });
  served = await serveFolder(at("tiny"));
}, 120_000);
afterAll(() => served?.end());

const GREEDY = { temperature: 0, max_tokens: 12 };

/** The text that `gblr generate` makes. */
async function alone(text: string, tokens: number): Promise<string> {
  const { generator } = served;
  const ids = generator.tokenizer.encode(text, { specialTokens: true });
  const settings = { ...generator.config.sampling, temperature: 0, tokens };
  const made = await resultOf(generateText(generator, { text, ids, continued: true }, settings), () => {});
  return made.text;
}

describe("completions", () => {
  test("continue texts as gblr generate does, many in one request", async () => {
    const prompts = ["the tower is", "a", "it was a dark and stormy night and the rain fell"];
    const { choices, usage, model } = await served.complete({ prompt: prompts, ...GREEDY });
    expect(model).toBe("tiny");
    for (const [i, prompt] of prompts.entries()) {
      expect(choices[i]).toMatchObject({ index: i, text: await alone(prompt, 12), logprobs: null });
    }
    const tokens = prompts.reduce((sum, text) => sum + text.length + 1, 0);
    expect(usage.prompt_tokens).toBe(tokens);
    expect(usage.total_tokens).toBe(tokens + usage.completion_tokens);
  });

  test("take token ids, and lists of them", async () => {
    const ids = (text: string) => [...served.generator.tokenizer.encode(text, { specialTokens: true })];
    const [one, other] = ["the sun", "rain and wind"];
    const whole = await served.complete({ prompt: [one, other], ...GREEDY });
    expect((await served.complete({ prompt: ids(one), ...GREEDY })).choices[0]?.text).toBe(whole.choices[0]?.text);
    const both = await served.complete({ prompt: [ids(one), ids(other)], ...GREEDY });
    expect(both.choices).toEqual(whole.choices);
  });

  test("give the same text in pieces", async () => {
    const request = { prompt: "the tower is", ...GREEDY, logprobs: 2, echo: true };
    const whole = await served.complete(request);
    const stream_options = { include_usage: true };
    const response = await served.post("/v1/completions", { ...request, stream: true, stream_options });
    expect(response.headers.get("content-type")).toStartWith("text/event-stream");
    const pieces = (await piecesOf(response)) as unknown as CompletionAnswer[];
    const parts = pieces.flatMap(({ choices }) => choices);
    expect(parts.map(({ text }) => text).join("")).toBe(whole.choices[0]?.text as string);
    expect(parts.flatMap(({ logprobs }) => logprobs?.token_logprobs ?? [])).toEqual(
      whole.choices[0]?.logprobs?.token_logprobs as number[],
    );
    expect(parts.at(-1)?.finish_reason).toBe(whole.choices[0]?.finish_reason as string);
    expect(pieces.at(-1)?.usage).toEqual(whole.usage);
  });

  test("report log-probabilities of prompt and text, and those of the prompt alone", async () => {
    const prompt = "the tower is";
    const scored = await served.complete({ prompt, ...GREEDY, logprobs: 2, echo: true });
    const [{ text, logprobs }] = scored.choices as [CompletionAnswer["choices"][number]];
    const {
      tokens = [],
      token_logprobs: values = [],
      top_logprobs: tops = [],
      text_offset: offsets = [],
    } = logprobs ?? {};
    expect(text).toBe(prompt + (await alone(prompt, 12)));
    expect([tokens.length, values.length, tops.length, offsets.length]).toEqual(Array(4).fill(values.length));
    expect(tokens.slice(0, 13).join("")).toBe(`<s>${prompt}`);
    expect([values[0], tops[0]]).toEqual([null, null]);
    // Letters alone are generated, so the likeliest token of the model can be another one.
    for (const [i, top] of tops.entries()) {
      if (i === 0) continue;
      expect(top?.[tokens[i] as string]).toBe(values[i] as number);
      expect(Math.max(...Object.values(top ?? {}))).toBeGreaterThanOrEqual(values[i] as number);
    }
    for (const max_tokens of [0, 1]) {
      const { choices, usage } = await served.complete({ prompt, max_tokens, logprobs: 1, echo: true, temperature: 0 });
      expect(usage.completion_tokens).toBe(max_tokens);
      const own = choices[0]?.logprobs?.token_logprobs as number[];
      expect(own.length).toBe(13 + max_tokens);
      for (const [i, value] of own.entries()) if (i > 0) expect(value).toBeCloseTo(values[i] as number, 4);
    }
    const nothing = await served.complete({ prompt, max_tokens: 0 });
    expect(nothing.choices).toEqual([{ index: 0, text: "", logprobs: null, finish_reason: "length" }]);
  });

  test("end at stop texts, which are no part of them", async () => {
    const text = await alone("the tower is", 40);
    const stop = text.slice(5, 8);
    const { choices } = await served.complete({
      prompt: "the tower is",
      temperature: 0,
      max_tokens: 40,
      stop: ["#", stop],
    });
    expect(choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finish_reason: "stop" });
  });

  test("give the same texts for the same seed, and n different ones", async () => {
    const request = { prompt: "once", max_tokens: 16, temperature: 1, n: 3, seed: 5 };
    const [first, second] = [await served.complete(request), await served.complete(request)];
    expect(second.choices).toEqual(first.choices);
    expect(new Set(first.choices.map(({ text }) => text)).size).toBe(3);
    expect(first.usage.prompt_tokens).toBe(5);
    const other = await served.complete({ ...request, n: 1, seed: 6 });
    expect(other.choices[0]?.text).toBe(first.choices[1]?.text as string);
  });

  test("obey biases of tokens", async () => {
    const { choices } = await served.complete({ prompt: "a", ...GREEDY, logit_bias: { "113": 100 } });
    expect(choices[0]?.text).toBe("q".repeat(12));
  });
});

describe("chats", () => {
  const messages = [{ role: "user", content: "what is a tower?" }];

  test("are answered, whole and in pieces, with text parts too", async () => {
    const request = { model: "tiny", messages, temperature: 0, max_tokens: 10, logprobs: true, top_logprobs: 2 };
    const answer = (await (await served.post("/v1/chat/completions", request)).json()) as {
      choices: { message: { content: string }; logprobs: { content: { token: string; bytes: number[] }[] } }[];
    };
    const [{ message, logprobs }] = answer.choices as [(typeof answer.choices)[number]];
    expect(message.content.length).toBeGreaterThan(0);
    expect(Buffer.from(logprobs.content.flatMap(({ bytes }) => bytes)).toString()).toStartWith(message.content);
    const parts = [
      {
        role: "user",
        content: [
          { type: "text", text: "what is " },
          { type: "text", text: "a tower?" },
        ],
      },
    ];
    const streamed = await served.post("/v1/chat/completions", { ...request, messages: parts, stream: true });
    const pieces = (await piecesOf(streamed)) as unknown as { choices: { delta: { content?: string } }[] }[];
    const text = pieces.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? "")).join("");
    expect(text).toBe(message.content);
  });

  test("are tokenized as the template writes them", async () => {
    const response = await served.post("/tokenize", { messages });
    const { tokens } = (await response.json()) as { tokens: number[] };
    const { prompt } = (await (await served.post("/detokenize", { tokens })).json()) as { prompt: string };
    expect(prompt).toBe("<|im_start|>user\nwhat is a tower?<|im_end|>\n<|im_start|>assistant\n");
  });
});

describe("a malformed request", () => {
  const long = "x".repeat(600);
  test.each([
    ["/v1/completions", "{", 400, null, "not valid JSON"],
    ["/v1/completions", "[]", 400, null, "expected object"],
    ["/v1/completions", { prompt: 3 }, 400, "prompt", "expected a text, a list of token ids"],
    ["/v1/completions", { prompt: [] }, 400, "prompt", "expected a text"],
    ["/v1/completions", { prompt: [1, "a"] }, 400, "prompt", "expected a text"],
    ["/v1/completions", { prompt: [[]] }, 400, "prompt.0", "Too small"],
    ["/v1/completions", { prompt: [100000] }, 400, "prompt", "there is no token 100000"],
    ["/v1/completions", { prompt: "a", max_tokens: -1 }, 400, "max_tokens", "Too small"],
    ["/v1/completions", { prompt: "a", max_tokens: 1.5 }, 400, "max_tokens", "expected int"],
    ["/v1/completions", { prompt: "a", max_tokens: 600 }, 400, "max_tokens", "takes 512 tokens in total"],
    ["/v1/completions", { prompt: long }, 400, "prompt", "the prompt has 601 tokens"],
    ["/v1/completions", { prompt: "a", temperature: 9 }, 400, "temperature", "Too big"],
    ["/v1/completions", { prompt: "a", top_p: "x" }, 400, "top_p", "expected number"],
    ["/v1/completions", { prompt: "a", n: 0 }, 400, "n", "Too small"],
    ["/v1/completions", { prompt: ["a", "b", "c"], n: 100 }, 400, "prompt", "may ask for 256 texts, got 300"],
    ["/v1/completions", { prompt: "a", stop: "" }, 400, "stop", "at least one character"],
    ["/v1/completions", { prompt: "a", logprobs: 21 }, 400, "logprobs", "Too big"],
    ["/v1/completions", { prompt: "a", best_of: 2 }, 400, "best_of", "expected the same as n"],
    ["/v1/completions", { prompt: "a", suffix: "b" }, 400, "suffix", "not supported"],
    ["/v1/completions", { prompt: "a", presence_penalty: 1 }, 400, "presence_penalty", "not supported"],
    ["/v1/completions", { prompt: "a", logit_bias: { "99999": 1 } }, 400, "logit_bias", "there is no token 99999"],
    ["/v1/completions", { prompt: "a", model: "other" }, 404, "model", 'no model "other"; served: "tiny"'],
    ["/v1/chat/completions", {}, 400, "messages", "expected array"],
    ["/v1/chat/completions", { messages: [] }, 400, "messages", "at least one message"],
    [
      "/v1/chat/completions",
      { messages: [{ role: "user", content: 1 }] },
      400,
      "messages.0.content",
      "expected a text",
    ],
    [
      "/v1/chat/completions",
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      400,
      "messages.0.content",
      "parts of type text",
    ],
    ["/v1/chat/completions", { messages: [{ role: "user" }], tools: [{}] }, 400, "tools", "not supported"],
    ["/tokenize", {}, 400, null, "either prompt or messages"],
    ["/detokenize", { tokens: [-1] }, 400, "tokens.0", "Too small"],
    ["/detokenize", { tokens: [99999] }, 400, "tokens", "there is no token 99999"],
    ["/v2/completions", {}, 404, null, "there is no POST /v2/completions"],
  ] as const)("gets one clear message: %s %j", async (path, body, status, param, message) => {
    const response = await served.post(path, body);
    const { error } = (await response.json()) as Required<CompletionAnswer>;
    expect({ status: response.status, param: error.param }).toEqual({ status, param });
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("\n");
    expect(error.type).toBe("invalid_request_error");
  });

  test("that is no JSON at all is refused by its type", async () => {
    const response = await served.post("/v1/completions", "prompt=a", { headers: { "Content-Type": "text/plain" } });
    expect(response.status).toBe(415);
    expect(served.events.filter(({ kind }) => kind === "fault")).toEqual([]);
  });
});

describe("limits", () => {
  test("of the body are kept", async () => {
    const small = await serveFolder(at("tiny"), { limits: { bodyBytes: 100 } });
    const response = await small.post("/v1/completions", { prompt: "a".repeat(200) });
    expect(response.status).toBe(413);
    expect(((await response.json()) as CompletionAnswer).error?.message).toContain("larger than 100 bytes");
    const chunks = new Blob(["{", " ".repeat(200), "}"]).stream();
    const chunked = await small.post("/v1/completions", "", { body: chunks, duplex: "half" } as RequestInit);
    expect(chunked.status).toBe(413);
    await small.end();
  });

  test("of time end a request that takes too long", async () => {
    const brief = await serveFolder(at("tiny"), { limits: { timeout: 0.3 } });
    const request = { prompt: Array(64).fill("a tower"), max_tokens: 400, ignore_eos: true };
    const response = await brief.post("/v1/completions", request);
    expect(response.status).toBe(408);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect((await brief.complete({ prompt: "a", max_tokens: 1 })).choices.length).toBe(1);
    await brief.end();
  });

  test("of requests tell when to come again, and clients that go away make room", async () => {
    const narrow = await serveFolder(at("tiny"), { limits: { concurrency: 1, queue: 0 } });
    const gone = new AbortController();
    const long = { prompt: "a", max_tokens: 400, ignore_eos: true, stream: true };
    const first = await narrow.post("/v1/completions", long, { signal: gone.signal });
    const reader = (first.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    const second = await narrow.post("/v1/completions", { prompt: "a" });
    expect(second.status).toBe(429);
    expect(Number(second.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    gone.abort();
    await reader.read().catch(() => {});
    await eventually(async () => (await narrow.post("/v1/completions", { prompt: "a", max_tokens: 1 })).status === 200);
    const metrics = await (await fetch(`${narrow.url}/metrics`)).text();
    expect(metrics).toContain('gblr_sequences_running{model="tiny"} 0');
    expect(metrics).toContain('gblr_requests_total{path="/v1/completions",status="429"}');
    const made = Number(/gblr_generated_tokens_total\{model="tiny"\} (\d+)/.exec(metrics)?.[1]);
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(400);
    await narrow.end();
  });

  test("leave a client that goes away before its answer without a place", async () => {
    const narrow = await serveFolder(at("tiny"), { limits: { concurrency: 1, queue: 0 } });
    const { hostname, port } = new URL(narrow.url);
    const socket = connect(Number(port), hostname);
    const body = JSON.stringify({ prompt: "a", max_tokens: 400, ignore_eos: true });
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const metric = async (name: string) => {
      const text = await (await fetch(`${narrow.url}/metrics`)).text();
      return Number(new RegExp(`^gblr_${name}\\{model="tiny"\\} (\\d+)`, "m").exec(text)?.[1] ?? 0);
    };
    await eventually(async () => (await metric("generated_tokens_total")) > 0);
    socket.destroy();
    await eventually(async () => (await metric("sequences_running")) === 0);
    expect(await metric("generated_tokens_total")).toBeLessThan(400);
    expect((await narrow.post("/v1/completions", { prompt: "a", max_tokens: 1 })).status).toBe(200);
    await narrow.end();
  });
});

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("it did not come true");
}
