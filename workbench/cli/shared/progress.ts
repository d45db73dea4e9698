// Shows progress on stderr. On a terminal it is a bar with amount, speed and time left (by cli-progress), or a line of
// text that is overwritten. In a log file it is a line at intervals, or nothing.

import process from "node:process";
import { Presets, SingleBar } from "cli-progress";
import { formatBytes } from "./terminal.ts";

interface ProgressBarSettings {
  /** name of the work */
  label: string;
  /** amount at the end. Default 0: not known yet */
  total?: number;
  /** formats an amount. Default: as bytes */
  format?: (amount: number) => string;
  /** seconds between the lines that are written if stderr is not a terminal. Default: none are written */
  lineEvery?: number | undefined;
  /** clock, milliseconds. Default performance.now */
  now?: () => number;
}

/** A progress bar on stderr. Must be stopped. */
export interface ProgressBar {
  setTotal(total: number): void;
  /** adds an amount that was done; negative if a part was lost */
  advance(amount: number): void;
  /** adds an amount that needed no work, e.g. from a cache; it is not included in the speed */
  skip(amount: number): void;
  /** sets the text after the numbers */
  note(text: string): void;
  /** removes the bar */
  stop(): void;
}

/** Seconds between lines of progress in a log file. */
export const LINE_EVERY = 30;

const BAR_WIDTH = 24;

/** Starts to show the progress of some work. */
export function progressBar(settings: ProgressBarSettings): ProgressBar {
  const { label, format = formatBytes, lineEvery, now = () => performance.now() } = settings;
  const speed = speedometer(now);
  let [value, total, note] = [0, settings.total ?? 0, ""];
  const numbers = () => {
    const rate = speed.perSecond();
    const amount = total > 0 ? `${format(value)} of ${format(total)}` : format(value);
    const rest = rate > 0 && total > value ? `${formatDuration((total - value) / rate)} left` : "";
    return [amount, rate > 0 ? `${format(rate)}/s` : "", rest, note].filter((part) => part !== "").join("  ");
  };
  const display = displayOf({
    lineEvery,
    now,
    bar: () => {
      const filled = total > 0 ? Math.round(Math.min(1, Math.max(0, value / total)) * BAR_WIDTH) : 0;
      return `${label} ${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${numbers()}`;
    },
    line: () => `${label}: ${numbers()}`,
  });
  const move = (amount: number) => {
    value += amount;
    display.update();
  };
  return {
    setTotal: (amount) => {
      total = amount;
    },
    advance: (amount) => {
      speed.add(amount);
      move(amount);
    },
    skip: move,
    note: (text) => {
      note = text;
    },
    stop: () => display.stop(),
  };
}

interface Display {
  /** called when the amount has changed */
  update(): void;
  stop(): void;
}

interface DisplayOptions extends Pick<ProgressBarSettings, "lineEvery"> {
  now(): number;
  /** texts of the present state, on a terminal and in a log file */
  bar(): string;
  line(): string;
}

/** The display of the progress: a bar on a terminal, lines in a log file, or nothing. */
function displayOf({ bar: text, line, lineEvery, now }: DisplayOptions): Display {
  if (process.stderr.isTTY) return terminalBar(text);
  if (lineEvery === undefined) return { update: () => {}, stop: () => {} };
  let last = now();
  return {
    update: () => {
      if (now() - last < lineEvery * 1000) return;
      last = now();
      process.stderr.write(`${line()}\n`);
    },
    stop: () => {},
  };
}

function terminalBar(text: () => string): Display {
  const bar = new SingleBar(
    {
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      linewrap: false,
      // Ctrl-C is handled by the verb.
      gracefulExit: false,
      format: text,
    },
    Presets.shades_classic,
  );
  let running = true;
  bar.start(0, 0);
  return {
    update: () => {
      if (running) bar.update(0);
    },
    stop: () => {
      running = false;
      bar.stop();
    },
  };
}

/** Seconds over which the speed is averaged. */
const WINDOW_S = 10;

/** Mean speed over the last seconds, including pauses. */
function speedometer(now: () => number) {
  const marks: { at: number; amount: number }[] = [{ at: now(), amount: 0 }];
  let sum = 0;
  return {
    add: (amount: number) => {
      const at = now();
      sum += amount;
      marks.push({ at, amount: sum });
      while (marks.length > 2 && at - (marks[1]?.at ?? at) > WINDOW_S * 1000) marks.shift();
    },
    perSecond: () => {
      const first = marks[0] ?? { at: 0, amount: 0 };
      const seconds = (now() - first.at) / 1000;
      return seconds < 0.2 ? 0 : Math.max(0, (sum - first.amount) / seconds);
    },
  };
}

/** A duration as text: `8 s`, `2 min 05 s`, `3 h 20 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

interface ProgressLine {
  show(text: string): void;
  clear(): void;
}

/** A line of text on a terminal that each `show` overwrites. */
export function progressLine(): ProgressLine {
  const write = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
  };
  return { show: write, clear: () => write("") };
}

/** Limits `show` to ten times a second, because terminals are slow. */
export function throttled(line: ProgressLine): (text: () => string) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (text) => {
    const now = performance.now();
    if (now - last < 100) return;
    last = now;
    line.show(text());
  };
}
