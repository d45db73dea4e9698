// Finds a Python that has what a test needs, and runs scripts with it. Tests skip, and say why, where none has.
// $GBLR_PYTHON names one, as of a virtual environment with tests/python/requirements.txt; others are those of the system.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { pythonSources } from "../../hub/python/index.ts";
import { forkServer, type PythonRun } from "./fork-server.ts";

/** Python starts slowly on a machine that other tests keep busy. */
export const PATIENCE = 400_000;

/** A folder with all modules of which the files of model folders are joined, those that are written from tables too. */
export const SOURCES = mkdtempSync(path.join(tmpdir(), "gblr-python-"));
for (const [name, text] of Object.entries(await pythonSources())) writeFileSync(path.join(SOURCES, `${name}.py`), text);
process.on("exit", () => rmSync(SOURCES, { recursive: true, force: true }));

const CANDIDATES = [...new Set([process.env.GBLR_PYTHON || "python3", "python3", "/usr/bin/python3"])];

/** The first Python that has these modules. Where there is none, undefined, and a line on stderr says what is missing. */
export function pythonWith(...modules: string[]): string | undefined {
  const [python] = pythonsWith(...modules);
  if (!python) explain(modules);
  return python;
}

/** All Pythons that have these modules. Says nothing where there is none. */
export function pythonsWith(...modules: string[]): string[] {
  return CANDIDATES.filter((python) => missing(python, modules).length === 0);
}

const asked = new Map<string, string[]>();

function missing(python: string, modules: string[]): string[] {
  const key = [python, ...modules].join(" ");
  if (!asked.has(key)) {
    const { status, stdout } = spawnSync(python, ["-c", MISSING, ...modules], { encoding: "utf8" });
    asked.set(key, status === 0 ? (JSON.parse(stdout) as string[]) : modules);
  }
  return asked.get(key) as string[];
}

/** A dotted name is an attribute, as `torch.uint64`, and has its module imported. */
const MISSING = `
import importlib, importlib.util, json, sys
def has(name):
    module, _, attribute = name.rpartition(".")
    if not module:
        return importlib.util.find_spec(name) is not None
    return has(module) and hasattr(importlib.import_module(module), attribute)
print(json.dumps([name for name in sys.argv[1:] if not has(name)]))
`;

const said = new Set<string>();

function explain(modules: string[]): void {
  const line = CANDIDATES.map((python) => `${python} lacks ${missing(python, modules).join(", ")}`).join("; ");
  if (said.has(line)) return;
  said.add(line);
  const what = "set GBLR_PYTHON to a Python with tests/python/requirements.txt";
  console.error(`Tests with Python's ${modules.join(", ")} are skipped: ${line}; ${what}.`);
}

export interface RunOptions {
  args?: readonly string[];
  /** beside those of this process */
  env?: Record<string, string | undefined>;
  /** what it reads */
  input?: string;
  /** folder that it runs in */
  cwd?: string;
}

/** Runs a script, in a process of its own. @param script a path, from this folder on; code itself if it has several lines */
export async function runPython(
  python: string | undefined,
  script: string,
  { args = [], env, input = "", cwd = process.cwd() }: RunOptions = {},
): Promise<PythonRun> {
  const what = script.includes("\n") ? { code: script } : { path: path.resolve(import.meta.dirname, script) };
  // Nothing is left in the folders that it reads.
  const whole = { ...process.env, PYTHONDONTWRITEBYTECODE: "1", ...env };
  const given = Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
  return forkServer(python as string).run({ ...what, args, env: given, cwd: path.resolve(cwd) }, input);
}

/** Runs a script that prints JSON. @throws Error with what it complained of */
export async function askPython<Answer>(
  python: string | undefined,
  script: string,
  options?: RunOptions,
): Promise<Answer> {
  const env = { PYTHONWARNINGS: "ignore", ...options?.env };
  const { status, stdout, stderr } = await runPython(python, script, { ...options, env });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Answer;
}
