// The official clients of OpenAI, for JavaScript and for Python, on a server of ours: they read every kind of answer, and
// raise their own errors for ours.

import { afterAll, beforeAll, expect, test } from "bun:test";
import OpenAI, { BadRequestError, NotFoundError } from "openai";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { writeChatModel } from "../cli/chat-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "../python/python.ts";
import { type Serving, serveFolder } from "./serving.ts";

const at = temporaryFolder();
const python = pythonWith("openai");
const KEY = "secret";
let served: Serving;
let client: OpenAI;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("tiny"), { positions: 512 });
  served = await serveFolder(at("tiny"), { key: KEY });
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: KEY, maxRetries: 0 });
}, PATIENCE);
afterAll(() => served?.end());

const GREEDY = { model: "tiny", temperature: 0, max_tokens: 12 };
const messages = [{ role: "user" as const, content: "what is a tower?" }];

test("the JavaScript client completes texts, whole and in pieces", async () => {
  const whole = await client.completions.create({ ...GREEDY, prompt: ["the tower", "rain"], logprobs: 1 });
  expect(whole.choices.length).toBe(2);
  expect(whole.choices[0]?.logprobs?.token_logprobs?.length).toBe(whole.choices[0]?.text.length as number);
  const stream = await client.completions.create({ ...GREEDY, prompt: "the tower", stream: true });
  let text = "";
  for await (const { choices } of stream) text += choices[0]?.text ?? "";
  expect(text).toBe(whole.choices[0]?.text as string);
});

test("the JavaScript client chats, whole and in pieces", async () => {
  const whole = await client.chat.completions.create({ ...GREEDY, messages });
  expect(whole.choices[0]?.message.role).toBe("assistant");
  const options = { include_usage: true };
  const stream = await client.chat.completions.create({ ...GREEDY, messages, stream: true, stream_options: options });
  let text = "";
  let usage: object | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage;
  }
  expect(text).toBe(whole.choices[0]?.message.content as string);
  expect(usage).toEqual(whole.usage as object);
});

test("the JavaScript client lists models, and raises its errors", async () => {
  const found: string[] = [];
  for await (const { id } of client.models.list()) found.push(id);
  expect(found).toEqual(["tiny"]);
  expect((await client.models.retrieve("tiny")).id).toBe("tiny");
  const wrong = client.completions.create({ ...GREEDY, prompt: "a", temperature: 9 });
  expect(await wrong.catch((error) => error)).toBeInstanceOf(BadRequestError);
  const missing = client.chat.completions.create({ ...GREEDY, model: "other", messages });
  expect(await missing.catch((error) => error)).toBeInstanceOf(NotFoundError);
});

const SCRIPT = `
import json, sys
import openai
from openai import OpenAI
url, key = sys.argv[1:]
client = OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
greedy = dict(model="tiny", temperature=0, max_tokens=12)
messages = [{"role": "user", "content": "what is a tower?"}]
whole = client.completions.create(prompt=["the tower", "rain"], echo=True, logprobs=2, **greedy)
pieces = client.completions.create(prompt="the tower", echo=True, stream=True, **greedy)
chat = client.chat.completions.create(messages=messages, logprobs=True, top_logprobs=2, **greedy)
chunks = client.chat.completions.create(messages=messages, stream=True, **greedy)
def caught(kind, call):
    try:
        call()
    except kind as error:
        return error.body["message"]
print(json.dumps({
    "texts": [choice.text for choice in whole.choices],
    "logprobs": whole.choices[0].logprobs.token_logprobs,
    "streamed": "".join(piece.choices[0].text for piece in pieces),
    "answer": chat.choices[0].message.content,
    "likeliest": len(chat.choices[0].logprobs.content[0].top_logprobs),
    "answered": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    "models": [model.id for model in client.models.list()],
    "wrong": caught(openai.BadRequestError, lambda: client.completions.create(prompt="a", n=0, model="tiny")),
    "keyless": caught(openai.AuthenticationError,
                      lambda: OpenAI(base_url=url + "/v1", api_key="x").models.list()),
}))
`;

test.skipIf(!python)(
  "the Python client reads the same answers",
  async () => {
    const found = await askPython<Record<string, unknown>>(python, SCRIPT, { args: [served.url, KEY] });
    const whole = await client.completions.create({
      ...GREEDY,
      prompt: ["the tower", "rain"],
      echo: true,
      logprobs: 2,
    });
    const chat = await client.chat.completions.create({ ...GREEDY, messages });
    const texts = whole.choices.map(({ text }) => text);
    expect(found).toEqual({
      texts,
      logprobs: expect.any(Array),
      streamed: texts[0],
      answer: chat.choices[0]?.message.content,
      likeliest: 2,
      answered: chat.choices[0]?.message.content,
      models: ["tiny"],
      wrong: expect.stringContaining("n: Too small"),
      keyless: expect.stringContaining("the key is wrong"),
    });
    const values = found.logprobs as (number | null)[];
    expect(values[0]).toBeNull();
    for (const [i, value] of (whole.choices[0]?.logprobs?.token_logprobs ?? []).entries()) {
      if (i > 0) expect(values[i]).toBeCloseTo(value, 4);
    }
  },
  PATIENCE,
);
