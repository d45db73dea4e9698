// One line on stderr that replaces itself while a verb works. Nothing where stderr is not a terminal.

import process from "node:process";

export interface ProgressLine {
  show(text: string): void;
  clear(): void;
}

export function progressLine(): ProgressLine {
  const write = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
  };
  return { show: write, clear: () => write("") };
}

/** `show` at most ten times a second: a terminal is slower than a disk. @param now milliseconds */
export function throttled(
  line: ProgressLine,
  now: () => number = () => performance.now(),
): (text: () => string) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (text) => {
    if (now() - last < 100) return;
    last = now();
    line.show(text());
  };
}
