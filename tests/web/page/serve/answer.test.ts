// An answer as the page collects it from the pieces of a stream: what a server sends, and sequences that are rare.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openEngine } from "../../../../workbench/engine/core/open.ts";
import {
  type Answer,
  noAnswer,
  perplexityOf,
  probabilityOf,
  speedOf,
  withPiece,
} from "../../../../workbench/web/page/serve/answer.js";
import { writeChatModel } from "../../../cli/chat-model.ts";
import { ENGINES } from "../../../engine/engines.ts";
import { temporaryFolder } from "../../../hub/temporary.ts";
import { piecesOf, type Serving, serveFolder } from "../../../serve/serving.ts";

const at = temporaryFolder();
let served: Serving;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("tiny"), { positions: 512 });
  served = await serveFolder(at("tiny"));
}, 120_000);
afterAll(() => served?.end());

const collected = (pieces: readonly object[]): Answer =>
  pieces.reduce((answer: Answer, piece, i) => withPiece(answer, piece, 100 + 10 * i), noAnswer(0));

const textOf = ({ texts }: Answer): string => texts.map(({ text }) => text).join("");

describe("an answer in pieces", () => {
  test("has the text and the log-probabilities of the whole completion", async () => {
    const body = { prompt: "the tower is", temperature: 0, max_tokens: 20, logprobs: 5 };
    const whole = (await served.complete(body)).choices[0];
    const answer = collected(await piecesOf(await served.post("/v1/completions", { ...body, stream: true })));
    expect(answer.state).toBe("finished");
    expect(answer.reason).toBe(whole?.finish_reason as string);
    expect(textOf(answer)).toBe(whole?.text as string);
    const logprobs = whole?.logprobs?.token_logprobs as number[];
    expect(answer.texts.flatMap(({ tokens }) => tokens.map(({ logprob }) => logprob))).toEqual(logprobs);
    expect(answer.count).toBe(logprobs.length);
    const mean = logprobs.reduce((sum, value) => sum + value, 0) / logprobs.length;
    expect(perplexityOf(answer)).toBeCloseTo(Math.exp(-mean), 10);
  });

  test("has them for a chat too, with the likeliest tokens in order", async () => {
    const messages = [{ role: "user", content: "hello" }];
    const body = { messages, temperature: 0, max_tokens: 8, logprobs: true, top_logprobs: 5 };
    const whole = (await (await served.post("/v1/chat/completions", body)).json()) as {
      choices: { message: { content: string }; logprobs: { content: { logprob: number }[] } }[];
    };
    const pieces = await piecesOf(await served.post("/v1/chat/completions", { ...body, stream: true }));
    const answer = collected(pieces);
    expect(textOf(answer)).toBe(whole.choices[0]?.message.content as string);
    const tokens = answer.texts.flatMap((text) => text.tokens);
    expect(tokens.map(({ logprob }) => logprob)).toEqual(
      whole.choices[0]?.logprobs.content.map(({ logprob }) => logprob) as number[],
    );
    for (const { likeliest } of tokens) {
      expect(likeliest).toHaveLength(5);
      expect(likeliest.map(({ logprob }) => logprob)).toEqual(
        likeliest.map(({ logprob }) => logprob).sort((a, b) => b - a),
      );
    }
  });

  const piece = (text: string, token?: string, finish_reason: string | null = null) => ({
    choices: [
      {
        text,
        finish_reason,
        logprobs: token && {
          tokens: [token],
          token_logprobs: [Math.log(0.5)],
          top_logprobs: [{ [token]: Math.log(0.5) }],
        },
      },
    ],
  });

  test("joins the tokens of one character, and shows the token that ended the text", () => {
    const answer = collected([
      piece("", "bytes:\\xc3"),
      piece("é", "bytes:\\xa9"),
      piece("", "<end>"),
      piece("", undefined, "stop"),
    ]);
    expect(answer.texts.map(({ text, tokens }) => [text, tokens.length])).toEqual([
      ["é", 2],
      ["", 1],
    ]);
    expect(answer.texts.map(probabilityOf)).toEqual([expect.closeTo(0.25), expect.closeTo(0.5)]);
    expect(answer.count).toBe(3);
  });

  test("is as fast as its tokens came after the first one", () => {
    const answer = collected([piece("a", "a"), piece("b", "b"), piece("c", "c")]);
    expect(speedOf(answer)).toBeCloseTo(2 / 0.02, 10);
    expect(speedOf(collected([piece("a", "a")]))).toBeUndefined();
  });

  test("keeps what came before an error", () => {
    const answer = collected([piece("a", "a"), { error: { message: "the request took too long" } }]);
    expect(answer).toMatchObject({ state: "failed", problem: "the request took too long", count: 1 });
    expect(textOf(answer)).toBe("a");
  });
});
