// Progress on stderr: a bar with amount, speed and time left (by cli-progress), or a line of text that replaces
// itself. Nothing is shown if stderr is not a terminal.

import process from "node:process";
import { Presets, SingleBar } from "cli-progress";
import { formatBytes } from "./terminal.ts";

interface ProgressBarSettings {
  /** before the bar */
  label: string;
  /** amount at the end; can be set later */
  total?: number;
  /** formats an amount. Default: as bytes */
  format?: (amount: number) => string;
  /** milliseconds */
  now?: () => number;
}

export interface ProgressBar {
  setTotal(total: number): void;
  /** `amount` more is done; negative if something was lost */
  advance(amount: number): void;
  /** done without work, e.g. from a cache: counted in the bar but not in the speed */
  skip(amount: number): void;
  /** text after the numbers */
  note(text: string): void;
  /** takes the bar away */
  stop(): void;
}

const BAR_WIDTH = 24;

export function progressBar({ label, total = 0, ...settings }: ProgressBarSettings): ProgressBar {
  const { format = formatBytes, now = () => performance.now() } = settings;
  if (!process.stderr.isTTY) return SILENT;
  const speed = speedometer(now);
  let note = "";
  const bar = new SingleBar(
    {
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      linewrap: false,
      // The verb handles Ctrl-C.
      gracefulExit: false,
      format: (_, { value, total }) => {
        const filled = total > 0 ? Math.round(Math.min(1, Math.max(0, value / total)) * BAR_WIDTH) : 0;
        const drawn = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
        const rate = speed.perSecond();
        const amount = total > 0 ? `${format(value)} of ${format(total)}` : format(value);
        const rest = rate > 0 && total > value ? `${formatDuration((total - value) / rate)} left` : "";
        const parts = [amount, rate > 0 ? `${format(rate)}/s` : "", rest, note].filter((part) => part !== "");
        return `${label} ${drawn} ${parts.join("  ")}`;
      },
    },
    Presets.shades_classic,
  );
  let value = 0;
  let running = true;
  bar.start(total, 0);
  const move = (amount: number) => {
    value += amount;
    if (running) bar.update(value);
  };
  return {
    setTotal: (total) => bar.setTotal(total),
    advance: (amount) => {
      speed.add(amount);
      move(amount);
    },
    skip: move,
    note: (text) => {
      note = text;
    },
    stop: () => {
      running = false;
      bar.stop();
    },
  };
}

const SILENT: ProgressBar = { setTotal: () => {}, advance: () => {}, skip: () => {}, note: () => {}, stop: () => {} };

/** Seconds over which the speed is averaged. */
const WINDOW_S = 10;

/** Mean speed over the last seconds, pauses included. */
export function speedometer(now: () => number) {
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

/** `8 s`, `2 min 05 s`, `3 h 20 min` */
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

export function progressLine(): ProgressLine {
  const write = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
  };
  return { show: write, clear: () => write("") };
}

/** Limits `show` to ten times a second, because terminals are slow. @param now milliseconds */
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
