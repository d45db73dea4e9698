// PyTorch as Debian's python3 has it, for tests that compare with it and are skipped without.

import { spawnSync } from "node:child_process";
import { join } from "node:path";

const PYTHON = "/usr/bin/python3";

export const HAS_PYTORCH = spawnSync(PYTHON, ["-c", "import torch"]).status === 0;

/** Importing PyTorch takes a second, and every engine asks for the same. */
const known = new Map<string, unknown>();

/** What reference.py gives. */
export function fromPytorch<Result>(given: { what: string } & Record<string, unknown>): Result {
  const input = JSON.stringify(given);
  if (!known.has(input)) known.set(input, run(input));
  return known.get(input) as Result;
}

function run(input: string): unknown {
  const script = join(import.meta.dirname, "reference.py");
  const { status, stdout, stderr } = spawnSync(PYTHON, [script], { input, maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}
