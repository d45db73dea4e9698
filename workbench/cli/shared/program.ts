// The base of every verb: exit codes, one-line errors, help that ends with an example, and Ctrl-C as a signal. A verb
// is a function that adds itself to the program.

import process from "node:process";
import { stripVTControlCharacters } from "node:util";
import { Command, CommanderError } from "commander";
import packageJson from "../../../package.json" with { type: "json" };
import { SettingsError } from "../../pipeline/stage.ts";

/** Exit codes; `interrupted` is the one of shells for SIGINT. */
const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** A verb failed. The message is the one line that the user sees. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
}

/** A command line whose options contradict each other or are invalid, found after commander has parsed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The user interrupted the work, which can be resumed. */
export class Interrupted extends CommandFailed {}

export type AddVerb = (program: Command) => void;

interface VerbSettings {
  name: string;
  summary: string;
  /** example commands, shown below the help */
  example: string;
}

/** Adds a verb with its help; options and action are the verb's own. */
export function verb(program: Command, { name, summary, example }: VerbSettings): Command {
  return program.command(name).description(summary).addHelpText("after", exampleText(example));
}

export function createProgram(verbs: readonly AddVerb[]): Command {
  const program = programNamed("gblr")
    .description(packageJson.description)
    .addHelpText("after", exampleText("gblr doctor\ngblr <verb> --help"));
  for (const add of verbs) add(program);
  return program;
}

/** A program whose errors are one line that begins with its name. */
export function programNamed(name: string): Command {
  return new Command(name)
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text.replace(/^error: /, `${name}: `))}\n`) });
}

/** Runs the command line of this process; its exit code says how it ended. */
export async function runMain(program: Command, argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  // A reader that stops early, such as `head`, is not a failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed);
  });
  // Set instead of exiting, because output may still be in the pipe.
  process.exitCode = await runProgram(program, argv);
}

/** Runs one command line and returns its exit code. Errors are one line on stderr. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(argv, { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage; // commander has printed it
    process.stderr.write(`${program.name()}: ${oneLine(error instanceof Error ? error.message : String(error))}\n`);
    if (error instanceof Interrupted) return EXIT.interrupted;
    return error instanceof UsageError || error instanceof SettingsError ? EXIT.usage : EXIT.failed;
  }
}

export function exampleText(example: string): string {
  const lines = example.split("\n").map((line) => `  ${line}`);
  return `\nExample:\n${lines.join("\n")}`;
}

/** Makes one line without colors of an error's message: those of libraries can span lines, and Deno colors them. */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text)
    .trim()
    .replace(/\s*\n\s*/g, " ");
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Runs an action that Ctrl-C interrupts: the first asks it to stop where it can be resumed, the second ends the process.
 * @param message for the user after the first: what is kept, and how to go on
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
