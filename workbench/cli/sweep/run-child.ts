// One run of a sweep in a process of its own: its memory is given back whole, and what goes wrong in it is its own loss.

import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { EXIT, oneLine } from "../program.ts";

export type ChildEnd = { kind: "finished" } | { kind: "interrupted" } | { kind: "failed"; error: string };

export interface ChildOptions {
  flags: readonly string[];
  /** ends it where it can be gone on with */
  signal: AbortSignal;
}

/** Each line that it says of how far it is, then how it ended. @param path of a recipe */
export async function* runChild(path: string, { flags, signal }: ChildOptions): AsyncGenerator<string, ChildEnd> {
  // In a group of its own: the terminal's Ctrl-C would reach it a second time, which ends it at once.
  const child = spawn(process.execPath, [...process.execArgv, path, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let told = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    told = (told + text).slice(-MOST_TOLD);
  });
  const stop = () => child.kill("SIGINT");
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<ChildEnd>((end) => {
    child.on("error", (error) => end({ kind: "failed", error: `could not be started: ${oneLine(error.message)}` }));
    child.on("close", (code, killed) => {
      if (code === EXIT.ok) end({ kind: "finished" });
      else if (signal.aborted || code === EXIT.interrupted) end({ kind: "interrupted" });
      else end({ kind: "failed", error: lastLine(told) || (killed ? `killed by ${killed}` : `exit code ${code}`) });
    });
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) if (line.trim()) yield line.trim();
    return await ended;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Characters of what it says on stderr. */
const MOST_TOLD = 10_000;

/** Recipes end with one line that says what was wrong. */
const lastLine = (text: string): string => oneLine(text.trim().split("\n").at(-1) ?? "");
