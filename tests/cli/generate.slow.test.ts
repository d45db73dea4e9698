// `gblr generate` as a user runs it, on a tiny model with a tokenizer of bytes: the real command in a process of its own.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { generateText, openGenerator } from "../../workbench/pipeline/generate.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { livelier, structured, tinyGpt2 } from "../models/tiny.ts";
import { writeChatModel } from "./chat-model.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const folder = temporaryFolder();

function generate(args: string[], stdin = "") {
  const run = Bun.spawnSync([process.execPath, GBLR, "generate", ...args], { stdin: Buffer.from(stdin) });
  return { code: run.exitCode, stdout: run.stdout.toString(), stderr: run.stderr.toString() };
}

beforeAll(async () => {
  await openEngine();
  const model = livelier(tinyGpt2({ vocab_size: 26, n_positions: 24, eos_token_id: null }));
  await saveModelNow(await structured(model, ["h.0.mlp.c_fc"], "gblr"), folder("model"));
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const tokenizer = {
    version: "1.0",
    added_tokens: [],
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab: Object.fromEntries(letters.map((letter, id) => [letter, id])), merges: [] },
  };
  writeFileSync(folder("model", "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(folder("model", "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "GPT2Tokenizer" }));
});

test("the prompt goes on, the same each time, from words or from stdin", () => {
  const { code, stdout, stderr } = generate([folder("model"), "abc", "--tokens", "8", "--seed", "3"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^abc[a-z]{8}\n$/);
  expect(generate([folder("model"), "-", "--tokens", "8", "--seed", "3"], "abc\n").stdout).toBe(stdout);
});

test("--json is one document that says how the text came about", () => {
  const { code, stdout } = generate([folder("model"), "ab", "--temperature", "0", "--json", "--engine", "cpu"]);
  expect(code).toBe(0);
  const said = JSON.parse(stdout);
  expect(said).toMatchObject({ prompt: "ab", stopped: "positions", engine: "cpu", settings: { temperature: 0 } });
  expect(said.ids.length).toBe(23);
  expect(said.text).toMatch(/^[a-z]{23}$/);
});

test("--draft gives the same greedy text, and says how many of its tokens were kept", async () => {
  await saveModelNow(livelier(tinyGpt2({ vocab_size: 26, n_positions: 24, eos_token_id: null }), 5), folder("draft"));
  const args = [folder("model"), "ab", "--temperature", "0", "--json", "--engine", "cpu", "--tokens", "12"];
  const alone = JSON.parse(generate(args).stdout);
  for (const draft of ["draft", "model"]) {
    const { code, stdout, stderr } = generate([...args, "--draft", folder(draft), "--draft-tokens", "2"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const said = JSON.parse(stdout);
    expect(said.ids).toEqual(alone.ids);
    expect(said.draft.model).toBe(folder(draft));
    // All of its own tokens: four rounds of two and one more.
    if (draft === "model") expect(said.draft).toMatchObject({ drafted: 8, kept: 8 });
  }
  expect(generate([...args, "--draft-tokens", "2"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--draft-tokens needs a draft; give --draft a model"),
  });
});

test("a text ends where generation_config.json says, which stands over config.json", async () => {
  const args = ["abc", "--temperature", "0", "--json", "--engine", "cpu"];
  const said = (name: string) =>
    JSON.parse(generate([folder(name), ...args]).stdout) as { ids: number[]; stopped: string };
  const { ids } = said("model");
  const [early, late] = [ids[0] as number, ids.find((id) => id !== ids[0]) ?? -1];
  cpSync(folder("model"), folder("ends"), { recursive: true });
  const write = (name: string, more: object) => {
    const file = folder("ends", name);
    const before = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
    writeFileSync(file, JSON.stringify({ ...before, ...more }));
  };
  write("config.json", { eos_token_id: [early, 25] });
  expect(said("ends")).toMatchObject({ ids: [], stopped: "end of text" });
  write("generation_config.json", { eos_token_id: late === -1 ? [25] : [late, 25] });
  const other = said("ends");
  expect(other.ids).toEqual(late === -1 ? ids : ids.slice(0, ids.indexOf(late)));
  expect(other.ids.length).toBeGreaterThan(0);
  write("generation_config.json", { eos_token_id: null });
  expect(said("ends").ids).toEqual([]);
  for (const wrong of ["end", []]) {
    write("generation_config.json", { eos_token_id: wrong });
    const shown = JSON.stringify(wrong);
    expect(generate([folder("ends"), "abc"]).stderr).toEndWith(
      `generation_config.json: eos_token_id is ${shown}: expected a token id or a list of them\n`,
    );
  }
});

test("the prompt has the special tokens that the tokenizer puts around texts", async () => {
  await writeChatModel(folder("special"));
  const { ids } = JSON.parse(
    generate([folder("special"), "abc", "--temperature", "0", "--tokens", "9", "--json", "--engine", "cpu"]).stdout,
  ) as { ids: number[] };
  const generator = await resultOf(openGenerator(folder("special"), { name: "special" }));
  const settings = { ...generator.config.sampling, temperature: 0, tokens: 9 };
  const generated = (prompt: number[]) => resultOf(generateText(generator, { text: "", ids: prompt }, settings));
  expect((await generated([256, 97, 98, 99])).ids).toEqual(ids);
  expect((await generated([97, 98, 99])).ids).not.toEqual(ids);
  generator.dispose();
});

test("invalid flags and prompts are reported in one line, with exit code 1 or 2", () => {
  const refused = (args: string[], code: number, message: RegExp) => {
    const { stderr, ...run } = generate(args);
    expect(run.code).toBe(code);
    expect(stderr).toMatch(message);
    expect(stderr.trim()).not.toContain("\n");
  };
  refused([folder("model"), "a".repeat(30)], 1, /prompt must be from 1 to 24 tokens, the model's positions, got 30/);
  const notText = Bun.spawnSync([process.execPath, GBLR, "generate", folder("model"), "-"], {
    stdin: Buffer.of(0x61, 0xe9),
  });
  expect(notText.exitCode).toBe(1);
  expect(notText.stderr.toString()).toBe("gblr: the prompt on stdin is not UTF-8 at byte 1 (0xe9); convert it first\n");
  refused([folder("nowhere"), "a"], 1, /there is no folder/);
  refused([folder("model"), "a", "--top-p", "2"], 2, /It must be above 0 and at most 1/);
  refused([folder("model"), "a", "--tokens", "0"], 2, /It must be a whole number from 1/);
  refused([folder("model"), "a", "--top-k", "3", "--temperature", "0"], 2, /contradict each other/);
});
