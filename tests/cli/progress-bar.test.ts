// The lines of progress that are written if stderr is not a terminal, with the speed and the times that bars show too.
// The drawing of bars on a terminal is left to cli-progress.

import { describe, expect, test } from "bun:test";
import { formatDuration, progressBar } from "../../workbench/cli/shared/progress.ts";

/** A bar in a log file that writes a line each second, and the lines so far. */
function logged(total = 0) {
  let now = 0;
  const lines: string[] = [];
  const write = process.stderr.write;
  const bar = progressBar({ label: "work", total, format: String, lineEvery: 1, now: () => now });
  const advance = (ms: number, amount: number) => {
    now += ms;
    process.stderr.write = ((text: string) => lines.push(text) > 0) as typeof write;
    try {
      bar.advance(amount);
    } finally {
      process.stderr.write = write;
    }
    return lines.at(-1);
  };
  return { bar, advance, lines };
}

describe.skipIf(process.stderr.isTTY === true)("in a log file", () => {
  test("a bar writes a line from time to time: the amount, the speed, the time left and a note", () => {
    const { bar, advance, lines } = logged(1000);
    bar.note("layer 3");
    for (let i = 0; i < 10; i++) advance(250, 25);
    expect(lines).toEqual([
      "work: 100 of 1000  100/s  9 s left  layer 3\n",
      "work: 200 of 1000  100/s  8 s left  layer 3\n",
    ]);
  });

  test("a speed is that of the last seconds, not of the whole", () => {
    const { advance } = logged();
    for (let second = 0; second < 59; second++) advance(1000, second < 40 ? 100 : 7);
    expect(advance(1000, 7)).toBe("work: 4140  7/s\n");
  });

  test("a pause lowers the speed while it lasts", () => {
    const { advance } = logged();
    for (let i = 0; i < 4; i++) advance(1000, 60);
    expect(advance(1000, 60)).toBe("work: 300  60/s\n");
    expect(advance(5000, 0)).toBe("work: 300  30/s\n");
  });

  test("no speed is shown that would be negative, nor for what took no work", () => {
    const { bar, advance } = logged(900);
    bar.skip(300);
    expect(advance(1000, -200)).toBe("work: 100 of 900\n");
  });

  test("a bar without lines takes everything and shows nothing", () => {
    const bar = progressBar({ label: "x", total: 3 });
    bar.advance(3);
    bar.note("y");
    bar.stop();
  });
});

test.each([
  [0.2, "0 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [125, "2 min 05 s"],
  [3599.7, "1 h 00 min"],
  [12_000, "3 h 20 min"],
])("%d seconds are %s", (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});
