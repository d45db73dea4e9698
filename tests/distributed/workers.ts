// Processes that are the ranks of one task after the other, as the start of a process takes longer than most tasks. One
// that is killed, or whose task fails, has ended, as in a run of its own; the next task gets another one in its place.

import { afterAll } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { freePort } from "../../workbench/cli/doctor/collect.ts";
import { environment } from "./start.ts";

/** Runs a command that cannot write files of more than 1 kB. */
const LIMITED = ["bash", "-c", `trap '' XFSZ; ulimit -f 1; exec "$0" "$@"`];

class Worker {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private readonly closed: Promise<[code: number, signal: string]>;

  constructor(script: string, { isFull = false } = {}) {
    const command = [...(isFull ? LIMITED : []), process.execPath, path.join(import.meta.dirname, script)];
    const [program, ...args] = command as [string, ...string[]];
    this.child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.closed = once(this.child, "close") as Promise<[number, string]>;
    this.lines = createInterface(this.child.stdout as Readable)[Symbol.asyncIterator]();
    // One that ends by itself does not read on; its missing answer tells that.
    this.child.stdin?.on("error", () => {});
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** The answer to a task. After an error, and if there is none, this has ended. */
  async answerTo(task: unknown, launcher: Readonly<Record<string, string>>): Promise<unknown> {
    (this.child.stdin as Writable).write(`${JSON.stringify({ task, launcher })}\n`);
    const { value, done } = await this.lines.next();
    const answer = done ? undefined : JSON.parse(value);
    if (answer !== undefined && answer.error === undefined) return answer;
    const [code, signal] = await this.closed;
    return answer ?? { ended: signal ?? code };
  }

  async end(): Promise<void> {
    this.child.stdin?.end();
    await this.closed;
  }
}

interface Choices {
  /** number of the ranks that get the task. Default: all */
  started?: number;
  /** a rank whose disk is full: it can write no file of more than 1 kB */
  full?: number | undefined;
}

/**
 * The processes of a test file, which end with it.
 * @param script of this folder, which calls `reply`
 * @returns gives a task to all ranks of a group, and their answers in their order; a group of 0 is one process that is no rank
 */
export function workersOf(script: string): (task: unknown, size: number, choices?: Choices) => Promise<unknown[]> {
  const workers: Worker[] = [];
  afterAll(async () => void (await Promise.all(workers.map((worker) => worker.end()))));
  const workerOf = (rank: number): Worker => {
    const own = workers[rank];
    if (own && !own.hasEnded) return own;
    workers[rank] = new Worker(script);
    return workers[rank];
  };
  return async (task, size, { started = Math.max(size, 1), full } = {}) => {
    const port = await freePort();
    const ranks = Array.from({ length: started }, async (_, rank) => {
      const worker = rank === full ? new Worker(script, { isFull: true }) : workerOf(rank);
      return worker.answerTo(task, size === 0 ? {} : environment(rank, size, port));
    });
    return Promise.all(ranks);
  };
}
