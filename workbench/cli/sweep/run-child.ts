// One run of a sweep in a process of its own: its memory is given back whole, and what goes wrong in it is its own loss.

import { spawn } from "node:child_process";
import process from "node:process";
import { EXIT, oneLine } from "../program.ts";

export type ChildEnd = { kind: "finished" } | { kind: "interrupted" } | { kind: "failed"; error: string };

export interface ChildOptions {
  flags: readonly string[];
  /** ends it where it can be gone on with */
  signal: AbortSignal;
}

/** @param path of a recipe */
export function runChild(path: string, { flags, signal }: ChildOptions): Promise<ChildEnd> {
  return new Promise((done) => {
    // In a group of its own: the terminal's Ctrl-C would reach it a second time, which ends it at once.
    const child = spawn(process.execPath, [...process.execArgv, path, ...flags], {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    });
    let told = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      told = (told + text).slice(-MOST_TOLD);
    });
    const stop = () => child.kill("SIGINT");
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    const end = (result: ChildEnd) => {
      signal.removeEventListener("abort", stop);
      done(result);
    };
    child.on("error", (error) => end({ kind: "failed", error: `could not be started: ${oneLine(error.message)}` }));
    child.on("close", (code, killed) => {
      if (code === EXIT.ok) end({ kind: "finished" });
      else if (signal.aborted || code === EXIT.interrupted) end({ kind: "interrupted" });
      else end({ kind: "failed", error: lastLine(told) || (killed ? `killed by ${killed}` : `exit code ${code}`) });
    });
  });
}

/** Characters of what it says on stderr. */
const MOST_TOLD = 10_000;

/** Recipes end with one line that says what was wrong. */
const lastLine = (text: string): string => oneLine(text.trim().split("\n").at(-1) ?? "");
