// PIL, for tests that compare with it: every version that a Python here has, since they differ.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { askPython, pythonsWith, pythonWith } from "../../python/python.ts";

export interface Pil {
  python: string;
  /** as 9.4 */
  version: number;
}

/** One of each version. Where there is none, it was said why. */
export function installedPils(): Pil[] {
  if (!pythonWith("PIL", "numpy")) return [];
  const all = pythonsWith("PIL", "numpy").map((python) => {
    const { stdout } = spawnSync(python, ["-c", "import PIL; print(PIL.__version__)"], { encoding: "utf8" });
    return { python, version: Number.parseFloat(stdout) };
  });
  return all.filter(({ version }, i) => all.findIndex((other) => other.version === version) === i);
}

export interface Dumped {
  name: string;
  width: number;
  height: number;
}

/** What pil.py gives. Pictures are beside those that it read, with `.rgb` after their names. */
export function fromPil<Answer>(
  { python }: Pil,
  given: { what: string; folder: string } & Record<string, unknown>,
): Promise<Answer> {
  return askPython(python, join(import.meta.dirname, "pil.py"), { input: JSON.stringify(given) });
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
