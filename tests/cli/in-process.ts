// Runs a command line of one verb in this process, where starting another for each would take most of the time. What
// only a process of its own can show (signals, exit codes that the system sees, other runtimes) is for such tests to run.

import { afterAll, beforeAll } from "bun:test";
import { type AddVerb, createProgram, runMain } from "../../workbench/cli/shared/program.ts";

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

export async function runVerb(add: AddVerb, args: readonly string[]): Promise<Ran> {
  const written = { stdout: "", stderr: "" };
  const before = { stdout: process.stdout.write, stderr: process.stderr.write };
  for (const name of ["stdout", "stderr"] as const) {
    process[name].write = ((text: string | Uint8Array) => {
      written[name] += typeof text === "string" ? text : new TextDecoder().decode(text);
      return true;
    }) as typeof process.stdout.write;
  }
  try {
    await runMain(createProgram([add]), args);
    return { code: Number(process.exitCode), ...written };
  } finally {
    process.exitCode = 0;
    process.stdout.write = before.stdout;
    process.stderr.write = before.stderr;
  }
}

/** Verbs of this test file use this cache folder and no network. */
export function runOffline(cache: string): void {
  const { GBLR_CACHE, HF_HUB_OFFLINE } = process.env;
  beforeAll(() => void Object.assign(process.env, { GBLR_CACHE: cache, HF_HUB_OFFLINE: "1" }));
  afterAll(() => {
    for (const [name, value] of Object.entries({ GBLR_CACHE, HF_HUB_OFFLINE })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}
