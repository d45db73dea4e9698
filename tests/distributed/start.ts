// Starts the ranks of a test as processes of this machine, with the environment that torchrun gives them, for one task.

import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { freePort } from "../../workbench/cli/doctor/collect.ts";

/** Number of sums of the task `steps` of rank.ts. */
export const STEPS = 40;

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
 * Starts ranks, which end with their answer. Where no test kills them while they start, those of workers.ts take less time.
 * @param script of this folder; it gets the task as JSON
 * @param size of the group
 * @param ports port of the meeting point for each rank. Default: the same free one
 */
export async function startRanks(
  script: string,
  task: unknown,
  size: number,
  ports?: readonly number[],
): Promise<ChildProcess[]> {
  const port = await freePort();
  return Array.from({ length: size }, (_, rank) =>
    spawn(process.execPath, [path.join(import.meta.dirname, script), JSON.stringify(task)], {
      env: { ...process.env, ...environment(rank, size, ports?.[rank] ?? port) },
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
}
