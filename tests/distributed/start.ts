// Starts the ranks of a test as processes of this machine, with the environment that torchrun gives them, and answers there.

import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { freePort } from "../../workbench/cli/doctor/collect.ts";

export const environment = (rank: number, size: number, port: number): Record<string, string> => ({
  ...{ RANK: `${rank}`, WORLD_SIZE: `${size}`, LOCAL_RANK: `${rank}`, LOCAL_WORLD_SIZE: `${size}` },
  ...{ MASTER_ADDR: "127.0.0.1", MASTER_PORT: `${port}` },
});

/** What a rank has answered when it has ended. */
export function answerOf(child: ChildProcess): Promise<unknown> {
  let text = "";
  child.stdout?.on("data", (data) => {
    text += data;
  });
  return new Promise((done) =>
    child.on("close", (code, signal) => done(text === "" ? { ended: signal ?? code } : JSON.parse(text))),
  );
}

/**
 * Starts ranks.
 * @param script of this folder; it gets the task as JSON
 * @param size of the group; 0 starts one process that is no rank
 * @param options.started number of the ranks that are started. Default: all
 */
export async function startRanks(
  script: string,
  task: unknown,
  size: number,
  { started = Math.max(size, 1) }: { started?: number } = {},
): Promise<ChildProcess[]> {
  const port = await freePort();
  return Array.from({ length: started }, (_, rank) =>
    spawn(process.execPath, [path.join(import.meta.dirname, script), JSON.stringify(task)], {
      env: { ...process.env, ...(size > 0 && environment(rank, size, port)) },
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
}

/** The answers of ranks that are started in this way, in their order. */
export async function answers(...started: Parameters<typeof startRanks>): Promise<unknown[]> {
  return Promise.all((await startRanks(...started)).map(answerOf));
}

/** What a script does in a rank: answers the task of its first argument with one line, and ends. */
export async function reply<Task>(answerTo: (task: Task) => Promise<unknown>): Promise<never> {
  const [answer, code] = await answerTo(JSON.parse(process.argv[2] as string)).then(
    (given) => [given, 0] as const,
    (error: Error) => [{ error: error.message }, 3] as const,
  );
  // A long answer is in the pipe only when this ends.
  await new Promise((done) => process.stdout.write(`${JSON.stringify(answer)}\n`, done));
  process.exit(code);
}
