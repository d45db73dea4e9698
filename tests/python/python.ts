// Finds a Python with what a test needs, and runs scripts of this folder with it. Which Python has it differs between
// machines: tests skip where none has.

import path from "node:path";

/** Python starts slowly on a machine that other tests keep busy. */
export const PATIENCE = 120_000;

/** The folder whose files are copied into model folders. */
export const SOURCES = path.join(import.meta.dir, "../../hub/python");

/** A Python that can import these. */
export function pythonWith(...modules: string[]): string | undefined {
  return ["python3", "/usr/bin/python3"].find((python) => {
    try {
      const command = [python, "-c", `import ${modules.join(", ")}`];
      return Bun.spawnSync(command, { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
    } catch {
      return false; // there is no such Python
    }
  });
}

/**
 * @param script in this folder
 * @param input what it reads
 * @returns what it printed, as JSON
 * @throws Error with what it complained of
 */
export function askPython(
  python: string,
  script: string,
  args: string[],
  env: Record<string, string> = {},
  input = "",
): unknown {
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [python, "-W", "ignore", path.join(import.meta.dir, script), ...args],
    // Nothing is left in the folders that it reads.
    { env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1", ...env }, stdin: new TextEncoder().encode(input) },
  );
  if (exitCode !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}
