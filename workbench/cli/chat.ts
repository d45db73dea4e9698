// `gblr chat`: a chat with a language model in the terminal, or with messages from a pipe. The chat itself is in
// pipeline/chat.ts.

import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { jsonOrUndefined } from "../../hub/text/json.ts";
import { countOf } from "../../hub/text/numbers.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import type { WeightType } from "../models/index.ts";
import { type Answer, type Chat, openChat } from "../pipeline/chat.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { openGenerator, type TextGenerator } from "../pipeline/generate.ts";
import { type PipelineEvent, resultOf, type StageContext } from "../pipeline/stage.ts";
import { pipedLines, pipedText, TerminalLines } from "./chat/input.ts";
import {
  addGenerationOptions,
  checkGenerationFlags,
  folderSettingsLine,
  type GenerationFlags,
  generationSettings,
} from "./shared/generation-options.ts";
import { addInferenceOptions, addKeep, addWeightType, MODEL_ARGUMENT, openEngineFor } from "./shared/options.ts";
import { Interrupted, interruptible, oneLine, verb } from "./shared/program.ts";
import { runStages } from "./shared/stages.ts";

interface ChatVerbOptions extends OpenEngineOptions, GenerationFlags {
  system?: string;
  prompt?: string;
  variable?: Record<string, unknown>;
  dtype?: WeightType;
  keep?: number;
  json?: boolean;
}

/** Chats sample as transformers' chats do, among 50 tokens. */
const USUAL = { tokens: 512, topK: 50 };

export function addChat(program: Command): void {
  const command = verb(program, {
    name: "chat",
    summary: "chat with a language model that has a chat template",
    example: [
      "gblr chat HuggingFaceTB/SmolLM2-135M-Instruct --system 'Answer in one sentence.'",
      "gblr chat runs/smollm2-60 -p 'What is a tower?' --temperature 0",
      "printf 'My name is Ada.\\nWhat is my name?\\n' | gblr chat runs/smollm2-60 --json",
    ].join("\n"),
  })
    .argument("<model>", MODEL_ARGUMENT)
    .option(
      "--system <text>",
      "message that tells the model how to behave (default: that of the chat template, if any)",
    )
    .option("-p, --prompt <text>", "answer this message only; - reads it from stdin, all lines as one message")
    .option(
      "--variable <name=value>",
      "variable of the chat template, e.g. enable_thinking=false; may be given several times",
      variables,
    );
  addGenerationOptions(command, { tokens: USUAL.tokens, topK: String(USUAL.topK) }).option(
    "--json",
    "print one JSON document in a line for each answer",
  );
  addInferenceOptions(addWeightType(addKeep(command)))
    .action(chatVerb)
    .addHelpText("after", MODES);
}

const COMMANDS = {
  "/reset": "start a new chat",
  "/exit": "leave, as Ctrl-D does",
  "/help": "list the commands",
} as const;

const MODES = [
  "",
  "At a terminal, each line is a message. Ctrl-C stops the answer; at the prompt it leaves, with exit code 130.",
  `Commands: ${Object.entries(COMMANDS)
    .map(([name, what]) => `${name} (${what})`)
    .join(", ")}.`,
  "From a pipe, each line that is not empty is a message. The answers are printed one after the other.",
].join("\n");

function variables(text: string, before: Record<string, unknown> = {}): Record<string, unknown> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must be a name and a value, e.g. enable_thinking=false.");
  const value = text.slice(at + 1);
  return { ...before, [text.slice(0, at)]: jsonOrUndefined(value) ?? value };
}

async function chatVerb(name: string, options: ChatVerbOptions): Promise<void> {
  checkGenerationFlags(options);
  const generator = await runStages({ interrupted: "interrupted", json: options.json }, (context) =>
    opened(name, options, context),
  );
  try {
    const { config } = generator;
    const { system, variable = {} } = options;
    const settings = (prompt: number) => generationSettings(options, { config, usual: USUAL, prompt });
    const chat = await openChat(generator, { name, system, variables: variable, settings });
    const talk = new Talk(chat, generator, options);
    if (options.prompt !== undefined) {
      await talk.answer(options.prompt === "-" ? await pipedText(process.stdin) : options.prompt);
    } else if (process.stdin.isTTY) await atTerminal(talk, name, folderSettingsLine(options, config));
    else for await (const line of pipedLines(process.stdin)) if (line.trim() !== "") await talk.answer(line);
  } finally {
    generator.dispose();
  }
}

async function* opened(
  name: string,
  options: ChatVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, TextGenerator> {
  const { folder } = yield* fetchModel(name, context);
  await openEngineFor(options);
  return yield* openGenerator(folder, {
    name,
    plain: !options.generationConfig,
    dtype: options.dtype,
    keep: options.keep,
  });
}

/** Prints the answers of a chat. */
class Talk {
  readonly chat: Chat;
  readonly #positions: number;
  readonly #json: boolean;
  #answers = 0;

  constructor(chat: Chat, { positions }: TextGenerator, { json = false }: ChatVerbOptions) {
    this.chat = chat;
    this.#positions = positions;
    this.#json = json;
  }

  /**
   * Answers a message. @param signal stops the answer. Default: Ctrl-C stops it, and the verb too
   * @throws Interrupted after Ctrl-C
   */
  async answer(message: string, signal?: AbortSignal): Promise<void> {
    if (signal) await this.#answer(message, signal);
    else {
      await interruptible("interrupted; the answer ends here", async (own) => {
        await this.#answer(message, own);
        own.throwIfAborted();
      });
    }
  }

  async #answer(message: string, signal: AbortSignal): Promise<void> {
    const started = performance.now();
    let last = "";
    const answer = await resultOf(this.chat.answer(message, signal), (text) => {
      if (!this.#json) process.stdout.write(text);
      last = text.at(-1) ?? last;
    });
    if (this.#json) this.#printDocument(message, answer, (performance.now() - started) / 1000);
    else if (last !== "\n") process.stdout.write("\n");
    for (const line of this.#notes(answer)) note(line);
  }

  #printDocument(user: string, { text, ...answer }: Answer, seconds: number): void {
    const rate = { seconds, tokensPerSecond: answer.tokens / seconds };
    process.stdout.write(`${JSON.stringify({ turn: ++this.#answers, user, assistant: text, ...answer, ...rate })}\n`);
  }

  #notes({ dropped, stopped, tokens }: Answer): string[] {
    const full = `the chat no longer fits the model's ${this.#positions} positions`;
    return [
      ...(dropped > 0 ? [`${full}: dropped ${countOf(dropped, "old turn")}`] : []),
      ...(stopped === "positions" ? [`${full}: the answer ends here`] : []),
      ...(stopped === "tokens" && process.stderr.isTTY ? [`the answer ends after ${countOf(tokens, "token")}`] : []),
    ];
  }
}

const note = (line: string): void => void process.stderr.write(`gblr: ${line}\n`);

/** A chat at the terminal. @throws Interrupted after Ctrl-C at the prompt */
async function atTerminal(talk: Talk, name: string, settings: string | undefined): Promise<void> {
  let answering: AbortController | undefined;
  let left = false;
  const interrupt = () => {
    // A second Ctrl-C during an answer does not wait for the current token.
    if (answering?.signal.aborted) process.exit(130);
    if (answering) return answering.abort(new Interrupted("interrupted"));
    left = true;
    lines.close();
  };
  const lines = new TerminalLines(interrupt);
  process.on("SIGINT", interrupt);
  try {
    note(`a chat with ${name}; /help lists the commands`);
    if (settings !== undefined) note(settings);
    for (let line = await lines.next(); line !== undefined && line.trim() !== "/exit"; line = await lines.next()) {
      if (line.trim() === "" || command(line.trim(), talk.chat)) continue;
      answering = new AbortController();
      await talk.answer(line, answering.signal).catch(report);
      answering = undefined;
    }
  } finally {
    process.off("SIGINT", interrupt);
    lines.close();
  }
  if (left) throw new Interrupted("left the chat");
}

/** Errors about one message leave the chat as it was, so that it can go on. */
function report(error: unknown): void {
  note(oneLine(error instanceof Error ? error.message : String(error)));
}

/** Runs a command. @returns whether the line is one */
function command(line: string, chat: Chat): boolean {
  if (!line.startsWith("/")) return false;
  if (line === "/reset") {
    chat.reset();
    note("started a new chat");
  } else if (line === "/help") for (const [name, what] of Object.entries(COMMANDS)) note(`${name}  ${what}`);
  else note(`there is no command ${line.split(" ", 1)[0]}; /help lists the commands`);
  return true;
}
