// `gblr chat` as a user runs it, on a tiny model: messages from a flag, a pipe and a terminal, in a process of its own.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { livelier, tinyGpt2 } from "../models/tiny.ts";
import { writeChatModel } from "./chat-model.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const folder = temporaryFolder();
const GREEDY = ["--temperature", "0", "--tokens", "12", "--engine", "cpu"];

function chat(args: string[], stdin: string | Uint8Array = "") {
  const run = Bun.spawnSync([process.execPath, GBLR, "chat", ...args], { stdin: Buffer.from(stdin) });
  return { code: run.exitCode, stdout: run.stdout.toString(), stderr: run.stderr.toString() };
}

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  await writeChatModel(folder("model"));
  await writeChatModel(folder("long"), { positions: 4096 });
  await writeChatModel(folder("sampling"), { settings: { do_sample: true, top_k: 1, max_new_tokens: 3 } });
  await writeChatModel(folder("likely"), { settings: { do_sample: true, min_p: 1 } });
  await writeChatModel(folder("beams"), { settings: { num_beams: 4 } });
  await saveModelNow(livelier(tinyGpt2()), folder("plain"));
});

describe("messages", () => {
  test("of a pipe are lines, and each answer depends on those before", () => {
    const both = chat([folder("model"), ...GREEDY], "hello\n\nhello again\n");
    expect(both).toMatchObject({ code: 0, stderr: "" });
    expect(both.stdout).toMatch(/^[a-z ]{1,12}\n[a-z ]{1,12}\n$/);
    const [first, second] = both.stdout.split("\n") as [string, string];
    expect(chat([folder("model"), ...GREEDY, "-p", "hello"]).stdout).toBe(`${first}\n`);
    expect(chat([folder("model"), ...GREEDY], "hello\r\nhello again").stdout).toBe(both.stdout);
    expect(chat([folder("model"), ...GREEDY, "-p", "hello again"]).stdout).not.toBe(`${second}\n`);
  });

  test("of several lines are read with --prompt -", () => {
    const args = [folder("model"), ...GREEDY, "--json", "--prompt"];
    const lines = chat([...args, "-"], "one\ntwo\n").stdout;
    expect(JSON.parse(lines)).toMatchObject({ turn: 1, user: "one\ntwo" });
    expect(JSON.parse(chat([...args, "one\ntwo"]).stdout).assistant).toBe(JSON.parse(lines).assistant);
  });

  test("of the system and template variables change the answer", () => {
    const answer = (...args: string[]) => chat([folder("model"), ...GREEDY, "-p", "hello", ...args]).stdout;
    expect(answer("--system", "be kind")).not.toBe(answer());
    expect(answer("--variable", "add_generation_prompt=false")).not.toBe(answer());
    expect(answer("--variable", "unknown=1")).toBe(answer());
  });

  test("have one JSON document in a line for each answer", () => {
    const { stdout, stderr } = chat([folder("model"), ...GREEDY, "--json"], "hello\nagain\n");
    const said = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(said).toMatchObject([
      { turn: 1, user: "hello", stopped: "tokens", tokens: 12, dropped: 0 },
      { turn: 2, user: "again" },
    ]);
    expect(said[1].promptTokens).toBeGreaterThan(said[0].promptTokens + 12);
    expect(stderr).toBe("");
  });
});

test("the settings of the folder are those of the chat, and flags override them", () => {
  const said = (...args: string[]) => {
    const run = chat([folder("sampling"), "--engine", "cpu", "-p", "hello", "--json", ...args]);
    return JSON.parse(run.stdout) as { assistant: string; tokens: number };
  };
  const greedy = chat([folder("model"), ...GREEDY, "-p", "hello"]).stdout;
  expect(said()).toMatchObject({ tokens: 3, assistant: greedy.slice(0, 3) });
  expect(said("--tokens", "5").assistant).toBe(greedy.slice(0, 5));
  expect(said("--tokens", "12", "--top-k", "0", "--seed", "3").assistant).not.toBe(greedy.trimEnd());
  expect(said("--no-generation-config").assistant.length).toBeGreaterThan(3);
  const likely = (...args: string[]) =>
    chat([folder("likely"), "--engine", "cpu", "--tokens", "12", "-p", "hello", ...args]);
  expect(likely().stdout).toBe(greedy);
  const free = likely("--min-p", "0");
  expect(free.code).toBe(0);
  expect(free.stdout).not.toBe(greedy);
});

test("a stop string ends the answer", () => {
  const [answer] = chat([folder("model"), ...GREEDY, "-p", "hello"]).stdout.split("\n") as [string];
  const stop = answer.slice(-2);
  const cut = chat([folder("model"), ...GREEDY, "-p", "hello", "--stop", "never", "--stop", stop]).stdout;
  expect(cut).toBe(`${answer.slice(0, answer.indexOf(stop))}\n`);
});

test("invalid flags and messages are reported in one line, with exit code 1 or 2", () => {
  const refused = (args: string[], code: number, message: RegExp, stdin: string | Uint8Array = "hello\n") => {
    const { stderr, ...run } = chat(args, stdin);
    expect(stderr).toMatch(message);
    expect(run.code).toBe(code);
    expect(stderr.trim()).not.toContain("\n");
  };
  writeFileSync(folder("plain", "tokenizer.json"), readFileSync(folder("model", "tokenizer.json")));
  refused([folder("plain")], 1, /has no chat template, so it cannot chat; use "gblr generate"/);
  writeFileSync(folder("plain", "chat_template.jinja"), "{% for %}");
  refused([folder("plain")], 1, /chat_template\.jinja: has a chat template that is not valid/);
  writeFileSync(
    folder("plain", "chat_template.jinja"),
    "{% set r = range(3000) %}{% for a in r %}{% for b in r %}a{% endfor %}{% endfor %}",
  );
  refused([folder("plain")], 1, /chat_template\.jinja: the template takes more than 1000000 steps/);
  refused([folder("beams")], 1, /num_beams is 4, which is beam search and is not supported; .*--no-generation-config/);
  expect(chat([folder("beams"), ...GREEDY, "--no-generation-config", "-p", "hello"]).code).toBe(0);
  refused(
    [folder("model"), ...GREEDY],
    1,
    /the text on stdin is not UTF-8 at byte 1 \(0xe9\)/,
    Buffer.of(0x61, 0xe9, 0x0a),
  );
  refused([folder("model"), ...GREEDY, "-p", "x".repeat(300)], 1, /the message makes a chat of 3\d\d tokens/);
  refused([folder("model"), "--top-k", "3", "--temperature", "0"], 2, /--top-k and --temperature 0 contradict/);
  refused([folder("model"), "--min-p", "2"], 2, /It must be a number from 0 to 1/);
  refused([folder("model"), "--variable", "x"], 2, /It must be a name and a value/);
  refused([folder("nowhere")], 1, /there is no folder/);
  rmSync(folder("plain", "chat_template.jinja"));
});

/** A chat at a terminal of its own. */
function terminal(args: string[]) {
  let seen = "";
  let wake = () => {};
  const child = Bun.spawn([process.execPath, GBLR, "chat", ...args], {
    terminal: {
      cols: 80,
      rows: 24,
      data(_, bytes) {
        seen += Buffer.from(bytes).toString();
        wake();
      },
    },
  });
  return {
    child,
    type: (text: string) => child.terminal?.write(text),
    /** Waits until the terminal shows a text after what was seen before. @returns what it shows up to there */
    async until(text: RegExp): Promise<string> {
      for (;;) {
        const found = text.exec(seen);
        if (found) {
          const shown = seen.slice(0, found.index + found[0].length);
          seen = seen.slice(shown.length);
          return shown;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** The prompt, after which the cursor is in the third column. */
const PROMPT = new RegExp(`> ${String.fromCharCode(27)}\\[3G`);

describe("at a terminal", () => {
  test("Ctrl-C stops the answer, then leaves", async () => {
    const { child, type, until } = terminal([
      folder("long"),
      "--temperature",
      "0",
      "--tokens",
      "4000",
      "--engine",
      "cpu",
    ]);
    expect(await until(PROMPT)).toContain("/help lists the commands");
    type("hello\r");
    await until(/\n[a-z ]{3}/);
    type("\x03");
    await until(PROMPT);
    type("again\r");
    await until(/\n[a-z ]{3}/);
    type("\x03");
    await until(PROMPT);
    type("\x03");
    await until(/gblr: left the chat/);
    expect(await child.exited).toBe(130);
  });

  test("commands are obeyed, and Ctrl-D leaves", async () => {
    const { child, type, until } = terminal([folder("model"), ...GREEDY]);
    expect(await until(PROMPT)).toMatch(/gblr: settings of generation_config\.json: suppress_tokens \(\d+\)/);
    const say = async (text: string) => {
      type(`${text}\r`);
      // The terminal echoes the line first.
      await until(/\n/);
      return (await until(PROMPT)).split(/\r*\n/)[0];
    };
    const first = await say("hello");
    expect(first).toMatch(/^[a-z ]+$/);
    expect(await say("hello")).not.toBe(first);
    expect(await say("/reset")).toBe("gblr: started a new chat");
    expect(await say("hello")).toBe(first);
    expect(await say("/nonsense x")).toBe("gblr: there is no command /nonsense; /help lists the commands");
    expect(await say("/help")).toContain("/reset");
    expect(await say("x".repeat(300))).toContain("shorten it");
    expect(await say("/reset")).toBe("gblr: started a new chat");
    type("\x04");
    expect(await child.exited).toBe(0);
  });
});

test("Ctrl-C ends a chat that is not at a terminal after the pieces that were printed", async () => {
  const args = [folder("long"), "--temperature", "0", "--tokens", "4000", "--engine", "cpu", "-p", "hello"];
  const child = Bun.spawn([process.execPath, GBLR, "chat", ...args], { stdout: "pipe", stderr: "pipe" });
  const reader = child.stdout.getReader();
  expect((await reader.read()).value?.length).toBeGreaterThan(0);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await new Response(child.stderr).text()).toBe("gblr: interrupted; the answer ends here\n");
});
