// The common parts of all verbs: exit codes, one-line errors, help that ends with an example, and Ctrl-C as an
// AbortSignal. A verb is a function that adds a command to the program.

import process from "node:process";
import { stripVTControlCharacters } from "node:util";
import { Command, CommanderError } from "commander";
import { ABOUT } from "../../../hub/files/about.ts";
import { SettingsError } from "../../pipeline/stage.ts";

/** Exit codes. `interrupted` is the code that shells use for SIGINT. */
const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The error of a verb that failed. The message is one line for the user. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
}

/** The error that options are invalid or contradict each other, found after commander has parsed them. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The error that the user interrupted the work. Exit code 130. */
export class Interrupted extends CommandFailed {}

export type AddVerb = (program: Command) => void;

interface VerbSettings {
  name: string;
  summary: string;
  /** example commands, shown below the help */
  example: string;
}

/** Adds a command with its help. The verb adds options and the action. */
export function verb(program: Command, { name, summary, example }: VerbSettings): Command {
  return program.command(name).description(summary).addHelpText("after", exampleText(example));
}

/** The `gblr` program with these verbs. */
export function createProgram(verbs: readonly AddVerb[]): Command {
  const program = programNamed("gblr")
    .description(ABOUT.description)
    .addHelpText("after", exampleText("gblr doctor\ngblr <verb> --help"));
  for (const add of verbs) add(program);
  return program;
}

/** A program that prints an error as one line that begins with its name. */
export function programNamed(name: string): Command {
  return new Command(name)
    .version(ABOUT.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text.replace(/^error: /, `${name}: `))}\n`) });
}

/** Runs a command line, by default that of this process, and sets the exit code of the process. */
export async function runMain(program: Command, argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  process.stdout.off("error", onOutputError).on("error", onOutputError);
  // The exit code is set without exiting, because output may not have been written yet.
  process.exitCode = await runProgram(program, argv);
}

/** Ends the process if stdout is closed. This is not a failure, because readers such as `head` stop early. */
function onOutputError(error: NodeJS.ErrnoException): void {
  process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed);
}

/** Runs a command line and returns its exit code. An error is printed as one line on stderr. */
async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(argv, { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage; // Commander has printed it.
    process.stderr.write(`${program.name()}: ${oneLine(error instanceof Error ? error.message : String(error))}\n`);
    if (error instanceof Interrupted) return EXIT.interrupted;
    return error instanceof UsageError || error instanceof SettingsError ? EXIT.usage : EXIT.failed;
  }
}

/** The part of a help text that shows example commands. */
export function exampleText(example: string): string {
  const lines = example.split("\n").map((line) => `  ${line}`);
  return `\nExample:\n${lines.join("\n")}`;
}

/** A message as one line without colors. Messages of libraries can have several lines, and Deno colors them. */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text)
    .trim()
    .replace(/\s*\n\s*/g, " ");
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Runs an action that Ctrl-C interrupts. The first Ctrl-C aborts the signal, the second ends the process.
 * @param message message of the error after the first Ctrl-C: what is kept, and how to resume
 */
export async function interruptible<Result>(
  message: string,
  action: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
    controller.abort(new Interrupted(message));
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  try {
    return await action(controller.signal);
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}
