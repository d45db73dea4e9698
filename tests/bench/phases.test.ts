// Phases of the benches: what the peak memory of a phase includes, and how a failed phase is reported. The figures are
// not tested.

import { expect, test } from "bun:test";
import process from "node:process";
import { runPhase } from "../../bench/phases.ts";

const PEAK = "console.log(process.resourceUsage().maxRSS * 1024)";
const SIZE = 400e6;

test.skipIf(process.platform !== "linux")(
  "the peak memory of a phase does not begin with that of the process that starts it",
  async () => {
    const held = new Uint8Array(SIZE).fill(1);
    const peak = await runPhase<number>([process.execPath, "-e", PEAK], {});
    expect(held.length).toBe(SIZE);
    expect(peak).toBeGreaterThan(1e7);
    expect(peak).toBeLessThan(SIZE);
  },
);

test("a phase gets its arguments and its request unchanged, and gives its last line as JSON", async () => {
  const script = 'console.log("first"); console.log(JSON.stringify([process.argv.at(-1), await Bun.stdin.json()]))';
  const argument = 'two words, "quotes" and $HOME';
  expect(await runPhase<unknown>([process.execPath, "-e", script, argument], { a: 1 })).toEqual([argument, { a: 1 }]);
});

test("a phase that fails is named with its exit code", async () => {
  const failed = runPhase([process.execPath, "-e", "process.exit(3)"], {});
  await expect(failed).rejects.toThrow(`${process.execPath} ended with exit code 3`);
});

test("a phase may leave its request unread", async () => {
  // larger than the buffer of a pipe, so that the end of the process breaks the pipe
  const request = { text: "a".repeat(1e6) };
  expect(await runPhase<number>([process.execPath, "-e", "console.log(7)"], request)).toBe(7);
  const failed = runPhase([process.execPath, "-e", "process.exit(4)"], request);
  await expect(failed).rejects.toThrow("ended with exit code 4");
});
