// PIL as Debian's python3 has it, for tests that compare with it and are skipped without.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const PYTHON = "/usr/bin/python3";

export const HAS_PIL = spawnSync(PYTHON, ["-c", "import PIL, numpy"]).status === 0;

export interface Dumped {
  name: string;
  width: number;
  height: number;
}

/** What pil.py gives. Pictures are beside those that it read, with `.rgb` after their names. */
export function fromPil<Answer>(given: { what: string; folder: string } & Record<string, unknown>): Answer {
  const script = join(import.meta.dirname, "pil.py");
  const { status, stdout, stderr } = spawnSync(PYTHON, [script], { input: JSON.stringify(given), maxBuffer: 2 ** 24 });
  if (status !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as Answer;
}

export const pixelsOf = (folder: string, name: string): Uint8Array => readFileSync(join(folder, `${name}.rgb`));

/** Between two pictures, levels of 255. */
export function difference(a: Uint8Array, b: Uint8Array): { most: number; mean: number } {
  if (a.length !== b.length) throw new Error(`pictures of ${a.length} and ${b.length} bytes`);
  let [most, sum] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs((a[i] as number) - (b[i] as number));
    most = Math.max(most, d);
    sum += d;
  }
  return { most, mean: sum / a.length };
}
