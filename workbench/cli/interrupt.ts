// Ctrl-C as a signal that work can listen to: the first asks it to stop where it can go on later, the second ends the
// process at once.

import process from "node:process";
import { Interrupted } from "./program.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Runs an action that stops when the user wants it to. @param message what the user reads then: what is kept, how to go on */
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
