// EleutherAI's lm_eval as a child process: whether a Python has it, its progress, and the line that says why it failed.
// The workbench needs Python for nothing else.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { StageError } from "../stage.ts";
import { type HarnessProgress, progressReader } from "./progress.ts";

/** A Python that has lm_eval. */
export interface LmEval {
  /** program, e.g. `python3` */
  python: string;
  /** version of lm_eval */
  version: string;
}

/** The modules that lm_eval needs to send requests. */
const PROBE = `
import json
from importlib.metadata import version
from importlib.util import find_spec
names = ["lm_eval", "aiohttp", "requests", "tenacity", "tqdm"]
missing = [name for name in names if find_spec(name) is None]
print(json.dumps({"missing": missing, "version": None if "lm_eval" in missing else version("lm_eval")}))
`;

/**
 * Checks that a Python has lm_eval.
 * @param python program, e.g. `python3`
 * @throws StageError if it cannot be started or lacks a module; the message says how to install it
 */
export async function findLmEval(python: string): Promise<LmEval> {
  const install = `pip install "lm_eval[api]", and set GBLR_PYTHON to the Python that has it`;
  const { stdout } = await promisify(execFile)(python, ["-c", PROBE]).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? `there is no program ${python}` : `${python} cannot be run: ${error.message}`;
    throw new StageError(`lm_eval needs Python, and ${why}; ${install}`);
  });
  const { missing, version } = JSON.parse(stdout) as { missing: string[]; version: string | null };
  if (missing.length > 0 || version === null) {
    throw new StageError(`${python} has no ${missing.join(", ")}; ${install}`);
  }
  return { python, version };
}

interface RunOptions {
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
}

/** Lines of stderr that are kept for the description of a failure. */
const KEPT_LINES = 400;

/**
 * Runs lm_eval to its end. Yields its progress.
 * @param args of its command line
 * @throws StageError with the error of lm_eval if it fails; the reason of the signal, which ends it
 */
export async function* runLmEval(
  { python }: LmEval,
  args: readonly string[],
  { env, signal }: RunOptions,
): AsyncGenerator<HarnessProgress, void> {
  signal.throwIfAborted();
  const child = spawn(python, ["-m", "lm_eval", ...args], { stdio: ["ignore", "ignore", "pipe"], env });
  const closed = once(child, "close") as Promise<[code: number | null, killedBy: string | null]>;
  const stop = () => void child.kill();
  signal.addEventListener("abort", stop);
  const kept: string[] = [];
  const read = progressReader();
  try {
    yield { what: "starting", done: 0, of: 0 };
    for await (const line of linesOf(child.stderr)) {
      const progress = read(line);
      if (progress) yield progress;
      else if (kept.push(line) > KEPT_LINES) kept.shift();
    }
    const [code, killedBy] = await closed;
    signal.throwIfAborted();
    if (killedBy !== null) throw new StageError(`lm_eval was ended by ${killedBy}`);
    if (code !== 0) throw new StageError(failureOf(complaintIn(kept)));
  } finally {
    signal.removeEventListener("abort", stop);
    child.kill();
  }
}

/** Lines that are not empty. A bar of progress ends each of its states with a carriage return. */
async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.setEncoding("utf8") as AsyncIterable<string>) {
    const lines = (rest + text).split(/[\r\n]/);
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield line.trimEnd();
  }
  if (rest.trim() !== "") yield rest;
}

function failureOf(complaint: string): string {
  const [, unknown] = /\bTasks? not found: (.+)$/.exec(complaint) ?? [];
  if (unknown === undefined) return `lm_eval failed: ${complaint}`;
  return `lm_eval has no task ${unknown}; "lm_eval ls tasks" lists those it has, and --include-path adds a folder with others`;
}

/** The name of an exception at the start of a line, as Python ends a traceback. */
const EXCEPTION = /^[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b/;

/**
 * The line with the error: that of the last exception, or the last line. The answer of the server says more than the
 * exception for its status.
 */
function complaintIn(lines: readonly string[]): string {
  const exception = lines.findLast((line) => EXCEPTION.test(line));
  const answered = lines.findLast((line) => line.includes("API request failed"));
  if (exception?.includes("HTTPError") && answered !== undefined) {
    return answered.replace(/^.*?API request failed/, "API request failed").replace(/\.? Retrying\.\.\.$/, "");
  }
  return exception ?? lines.at(-1) ?? "it gave no reason";
}
