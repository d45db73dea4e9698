// One contestant as the bench sees it: a child process that answers the line protocol, and the times of its calls.
// contestants.ts lists the contestants.

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { type Case, operationsPerCall } from "./cases.ts";
import type { About, Answer, Faults, Request } from "./protocol.ts";

export interface Contestant {
  /** heading of its column */
  name: string;
  command: string;
  args: readonly string[];
  /** runs the small cases only */
  smallOnly?: boolean;
}

/** A running contestant; every request waits for its answer. */
export class Running {
  readonly contestant: Contestant;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #complaints = "";
  /** calls of the prepared case that make one sample long enough for the clock */
  #calls = 1;
  #perCall = 1;
  /** seconds of all samples, and of those that the process waited for a core */
  #sampled = 0;
  #waited = 0;

  constructor(contestant: Contestant) {
    this.contestant = contestant;
    this.#child = spawn(contestant.command, contestant.args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.on("error", (error) => {
      this.#complaints += error.message;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#complaints += text;
    });
    // A process that has ended is noticed by the end of its output, so errors from writing to it are ignored.
    this.#child.stdin?.on("error", () => {});
    const stdout = this.#child.stdout;
    if (stdout === null) throw new Error(`${contestant.name}: no pipe to read from`);
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  async about(): Promise<About> {
    return (await this.#ask({ do: "about" })) as About;
  }

  /**
   * Builds the operands, warms up for `warmUp` seconds (a JavaScript engine compiles hot code in tiers), and finds how
   * many calls fill `seconds`. Returns the reason if the contestant does not run such a case.
   */
  async prepare(of: Case, { seconds, warmUp }: { seconds: number; warmUp: number }): Promise<string | undefined> {
    const answer = await this.#ask({ do: "prepare", case: of });
    if ("unsupported" in answer) return answer.unsupported;
    this.#calls = 1;
    this.#perCall = operationsPerCall(of);
    let last = 0;
    for (let spent = 0; spent < warmUp; spent += last) last = await this.#time();
    this.#calls = Math.max(1, Math.min(1000, Math.ceil(seconds / last)));
    return undefined;
  }

  /** One sample: seconds for each operation. */
  async sample(): Promise<number> {
    const before = this.#waitedForCore();
    const seconds = await this.#time();
    this.#waited += this.#waitedForCore() - before;
    this.#sampled += seconds;
    return seconds / this.#calls / this.#perCall;
  }

  /** The share of the samples' time in which the main thread was ready to run but waited for a core. */
  get waiting(): number {
    return this.#sampled === 0 ? 0 : Math.min(1, this.#waited / this.#sampled);
  }

  /** Seconds that the process has waited for a core since its start, as Linux reports them; elsewhere 0. */
  #waitedForCore(): number {
    try {
      return Number(readFileSync(`/proc/${this.#child.pid}/schedstat`, "utf8").split(" ")[1]) / 1e9;
    } catch {
      return 0;
    }
  }

  /** Page faults of the first `calls` calls of a case that has not been run yet. */
  async faults(of: Case, calls: number): Promise<Faults> {
    await this.#ask({ do: "prepare", case: of });
    return (await this.#ask({ do: "faults", calls })) as Faults;
  }

  async release(): Promise<void> {
    await this.#ask({ do: "release" });
  }

  /** Ends the process by closing its input. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) resolve();
      else this.#child.once("close", () => resolve()).stdin?.end();
    });
  }

  async #time(): Promise<number> {
    return ((await this.#ask({ do: "time", calls: this.#calls })) as { seconds: number }).seconds;
  }

  async #ask(request: Request): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
    const { name } = this.contestant;
    if (done) throw new Error(`${name} ended: ${this.#complaints.trim().split("\n").at(-1) || "without a message"}`);
    const answer = JSON.parse(value) as Answer;
    if ("error" in answer) throw new Error(`${name}: ${answer.error}`);
    return answer;
  }
}
