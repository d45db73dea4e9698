// A module in a process of its own: its last line comes back, and each way of ending badly is one clause. The modules
// are written for the test and run for real.

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { outputOf } from "../../workbench/cli/shared/subprocess.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "gblr-subprocess-"));
afterAll(() => rmSync(folder, { recursive: true }));

function run(source: string, patience = 30): Promise<string> {
  const file = path.join(folder, `${Bun.hash(source)}.ts`);
  writeFileSync(file, source);
  return outputOf(file, { argument: '{"a": "argument with spaces"}', patience });
}

test("the last line of stdout is the answer, whatever was printed before it", async () => {
  expect(await run('console.log("noise of a library"); console.log(process.argv[2]);')).toBe(
    '{"a": "argument with spaces"}',
  );
});

test("a module that crashes is reported by its signal", async () => {
  await expect(run('process.kill(process.pid, "SIGSEGV"); await new Promise(() => {});')).rejects.toThrow(
    "crashed with SIGSEGV",
  );
});

test("a module that hangs is killed, and reported by how long it was given", async () => {
  const start = performance.now();
  await expect(run("setInterval(() => {}, 1000);", 0.5)).rejects.toThrow("no answer within 0.5 s");
  expect(performance.now() - start).toBeLessThan(10_000);
});

test("a module that throws is reported by its error, not by its stack", async () => {
  const failed = await run('throw new Error("the library is gone");').catch((error: Error) => error.message);
  expect(failed).toStartWith("ended with exit code 1: ");
  expect(failed).toContain("the library is gone");
  expect(failed).not.toContain("\n");
});

test("a module that exits with a code and no word is reported by the code", async () => {
  await expect(run("process.exit(3);")).rejects.toThrow(/^ended with exit code 3$/);
});
