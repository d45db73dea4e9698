// Chats with a tiny model: answers do not depend on what was kept of earlier ones, old turns are dropped when the model
// is full, and a chat that fails can go on.

import { beforeAll, describe, expect, test } from "bun:test";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type ChatOptions, openChat } from "../../workbench/pipeline/chat.ts";
import { openGenerator, type TextGenerator } from "../../workbench/pipeline/generate.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { CHATML, writeChatModel } from "../cli/chat-model.ts";
import { SPECIAL } from "../data/chat/chat-folder.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
const never = new AbortController().signal;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(folder("model"));
  const strict = "{% if messages | length > 2 %}{{ raise_exception('one turn is enough') }}{% endif %}";
  await writeChatModel(folder("strict"), { template: strict + CHATML });
});

async function withGenerator(name: string, use: (generator: TextGenerator) => Promise<void>): Promise<void> {
  const generator = await resultOf(openGenerator(folder(name), { name }));
  try {
    await use(generator);
  } finally {
    generator.dispose();
  }
}

/** Greedy settings. @param tokens of an answer */
const options = (generator: TextGenerator, tokens: number, more: Partial<ChatOptions> = {}): ChatOptions => ({
  name: "tiny",
  settings: () => ({ ...generator.config.sampling, temperature: 0, tokens }),
  ...more,
});

describe("answers", () => {
  test("are those of a model that processes the whole chat anew", async () => {
    const talk = async (generator: TextGenerator, restart: boolean) => {
      const chat = await openChat(generator, options(generator, 9, { system: "be kind" }));
      const answers: string[] = [];
      const kept: number[] = [];
      for (const message of ["hello", "who are you", "and me"]) {
        if (restart) await Array.fromAsync(generator.session.generate([0], { tokens: 1 }));
        const before = generator.session.cached;
        const { text, promptTokens } = await resultOf(chat.answer(message, never));
        answers.push(text);
        kept.push(before);
        expect(promptTokens).toBeGreaterThan(before);
      }
      return { answers, kept, messages: chat.messages };
    };
    await withGenerator("model", async (generator) => {
      const kept = await talk(generator, false);
      const anew = await talk(generator, true);
      expect(kept.answers).toEqual(anew.answers);
      expect(kept.kept[2]).toBeGreaterThan(kept.kept[1] as number);
      expect(anew.kept).toEqual([1, 1, 1]);
      expect(kept.messages.map(({ role }) => role)).toEqual([
        "system",
        ...["user", "assistant", "user", "assistant", "user", "assistant"],
      ]);
      expect(kept.messages[2]?.content).toBe(kept.answers[0] as string);
    });
  });

  test("come in pieces that add up to them", async () => {
    await withGenerator("model", async (generator) => {
      const chat = await openChat(generator, options(generator, 12));
      const pieces: string[] = [];
      const { text, tokens } = await resultOf(chat.answer("hello", never), (piece) => pieces.push(piece));
      expect(pieces.join("")).toBe(text);
      expect(pieces.length).toBeGreaterThan(10);
      expect(tokens).toBe(12);
    });
  });

  test("end before a stop string, which is not a part of the history", async () => {
    await withGenerator("model", async (generator) => {
      const sampled = { ...generator.config.sampling, tokens: 40 };
      const free = await openChat(generator, options(generator, 40, { settings: () => sampled }));
      const { text } = await resultOf(free.answer("hello", never));
      const at = [...text].findIndex((_, i) => i > 4 && text.indexOf(text.slice(i, i + 2)) === i);
      const stop = text.slice(at, at + 2);
      expect(stop).toHaveLength(2);
      const settings = () => ({ ...sampled, stopStrings: [stop] });
      const chat = await openChat(generator, options(generator, 40, { settings }));
      const answer = await resultOf(chat.answer("hello", never));
      expect(answer).toMatchObject({ stopped: "stop string", text: text.slice(0, at) });
      expect(chat.messages.at(-1)?.content).toBe(answer.text);
    });
  });

  test("that are stopped stay a part of the chat, as far as they came", async () => {
    await withGenerator("model", async (generator) => {
      const chat = await openChat(generator, options(generator, 50));
      const controller = new AbortController();
      let pieces = 0;
      const answer = await resultOf(chat.answer("hello", controller.signal), () => {
        if (++pieces === 4) controller.abort();
      });
      expect(answer).toMatchObject({ stopped: "interrupted", tokens: 4 });
      expect(chat.messages).toHaveLength(2);
      expect(chat.messages[1]?.content).toBe(answer.text);
      expect((await resultOf(chat.answer("more", never))).stopped).not.toBe("interrupted");
      expect(chat.messages).toHaveLength(4);
      chat.reset();
      expect(chat.messages).toHaveLength(0);
    });
  });
});

describe("a chat that grows", () => {
  test("drops its oldest turns, but not the system message", async () => {
    await withGenerator("model", async (generator) => {
      const chat = await openChat(generator, options(generator, 20, { system: "short" }));
      let dropped = 0;
      for (let turn = 0; turn < 12; turn++) {
        const answer = await resultOf(chat.answer(`this is message ${turn}`, never));
        dropped += answer.dropped;
        expect(answer.promptTokens + 20).toBeLessThanOrEqual(256);
        expect(chat.messages[0]?.content).toBe("short");
        expect(chat.messages.at(-2)?.content).toBe(`this is message ${turn}`);
      }
      expect(dropped).toBeGreaterThan(3);
      expect(chat.messages.length).toBe(1 + 2 * (12 - dropped));
    });
  });

  test("refuses a message that does not fit alone, and goes on", async () => {
    await withGenerator("model", async (generator) => {
      const chat = await openChat(generator, options(generator, 5));
      await resultOf(chat.answer("hello", never));
      await expect(resultOf(chat.answer("x".repeat(300), never))).rejects.toThrow(
        /the message makes a chat of 3\d\d tokens, and tiny has 256 positions; shorten it/,
      );
      expect(chat.messages).toHaveLength(2);
      await resultOf(chat.answer("hello", never));
      expect(chat.messages).toHaveLength(4);
    });
  });
});

test("an answer ends at the tokenizer's end of a turn, even if the configs name another token", async () => {
  // The token always comes first, and config.json has another one that ends texts.
  const end = 256 + SPECIAL.indexOf("<|im_end|>");
  await writeChatModel(folder("tuned"), { settings: { eos_token_id: 0, sequence_bias: [[[end], 99]] } });
  await withGenerator("tuned", async (generator) => {
    const chat = await openChat(generator, options(generator, 5));
    expect(await resultOf(chat.answer("one", never))).toMatchObject({ stopped: "end of text", tokens: 0, text: "" });
    expect(chat.messages).toHaveLength(0);
  });
});

test("a template that refuses a chat leaves it as it was", async () => {
  await withGenerator("strict", async (generator) => {
    const chat = await openChat(generator, options(generator, 5));
    await resultOf(chat.answer("one", never));
    await expect(resultOf(chat.answer("two", never))).rejects.toThrow(
      /the template refuses the chat: one turn is enough/,
    );
    expect(chat.messages).toHaveLength(2);
  });
});
