// Runs Python scripts in forks of one process for each Python, which has imported torch: on a slow machine, importing torch
// and transformers takes 4 to 11 s of processor time for each script. fork_server.py is its other side.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

export interface PythonRun {
  /** null if a signal ended it */
  status: number | null;
  stdout: string;
  stderr: string;
}

interface Request {
  code?: string;
  path?: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
}

class ForkServer {
  private readonly folder = mkdtempSync(path.join(tmpdir(), "gblr-fork-server-"));
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, { done: (status: number | null) => void; fail: (error: Error) => void }>();
  private count = 0;
  /** why it has ended; undefined as long as it runs */
  private lost: Error | undefined;

  constructor(python: string) {
    const script = path.join(import.meta.dirname, "fork_server.py");
    this.child = spawn(python, [script], { stdio: ["pipe", "pipe", "ignore"] });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const { id, status } = JSON.parse(line) as { id: number; status: number | null };
      this.waiting.get(id)?.done(status);
      this.waiting.delete(id);
    });
    const lose = (why: unknown) => {
      this.lost ??= new Error(`the fork server of ${python} has ended: ${why}`);
      for (const { fail } of this.waiting.values()) fail(this.lost);
    };
    this.child.on("error", lose).on("close", lose);
    this.child.stdin?.on("error", () => {});
    process.on("exit", () => {
      this.child.kill();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  async run(request: Request, input: string): Promise<PythonRun> {
    const id = this.count++;
    const file = (what: string) => path.join(this.folder, `${id}.${what}`);
    writeFileSync(file("stdin"), input);
    const [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(file) as [string, string, string];
    try {
      const status = await new Promise<number | null>((done, fail) => {
        if (this.lost) return fail(this.lost);
        this.waiting.set(id, { done, fail });
        this.child.stdin?.write(`${JSON.stringify({ id, ...request, stdin, stdout, stderr })}\n`);
      });
      return { status, stdout: readFileSync(stdout, "utf8"), stderr: readFileSync(stderr, "utf8") };
    } finally {
      for (const each of [stdin, stdout, stderr]) rmSync(each, { force: true });
    }
  }
}

const servers = new Map<string, ForkServer>();

/** The fork server of a Python, which is started at the first call. */
export function forkServer(python: string): ForkServer {
  const server = servers.get(python) ?? new ForkServer(python);
  servers.set(python, server);
  return server;
}
