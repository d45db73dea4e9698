// Readers of the output of each part of bench/gpu.sh: rows for the table, or an error that says in one line why there are
// none.

import type { EngineMemory } from "../../workbench/engine/core/types.ts";

/** What a finished command wrote. */
export interface Output {
  stdout: string;
  stderr: string;
  exitCode: number;
}

export interface Row {
  what: string;
  value: number;
  unit: string;
  /** this value over that of another row */
  ratio?: number;
  /** what the ratio is to */
  to?: string;
  /** most bytes in use */
  peak?: number;
  /** why there is no value, one line */
  error?: string;
}

/** The row with the number of failed tests. */
export const FAILED_TESTS = "failed";

type Reader = (output: Output) => Row[];

export const readers = {
  build({ stdout }) {
    const { built, seconds, opened, memory } = jsonOf<{
      built: boolean;
      seconds: number;
      opened: number;
      memory?: EngineMemory;
    }>(stdout);
    return [
      { what: built ? "addon built" : "addon was up to date", value: seconds, unit: "s" },
      { what: "engine opened", value: opened, unit: "s", ...peakOf(memory) },
    ];
  },

  training({ stdout }) {
    type Measured = { name: string; tokensPerSecond: number; peakBytes: number };
    const { rows } = jsonOf<{ rows: Measured[] }>(stdout);
    return rows.map(({ name, tokensPerSecond, peakBytes }) => ({
      what: name,
      value: tokensPerSecond,
      unit: "tokens/s",
      peak: peakBytes,
    }));
  },

  inference({ stdout }) {
    type Measured = { what: string; rate: number; unit: string; overDense?: number; error?: string };
    const { rows, memory } = jsonOf<{ rows: Measured[]; memory?: EngineMemory }>(stdout);
    const peer = rows.find(({ what, error }) => what.startsWith("PyTorch") && error === undefined);
    return rows.map(({ what, rate, unit, overDense, error }, at) => ({
      ...{ what, value: rate, unit, ...(error !== undefined && { error }) },
      ...(overDense !== undefined && { ratio: overDense, to: "dense" }),
      ...(at === 0 && peer && { ratio: rate / peer.rate, to: "PyTorch" }),
      ...(at === 0 && peakOf(memory)),
    }));
  },

  svd({ stdout }) {
    type Measured = { shape: number[]; seconds: number };
    const { rows, memory } = jsonOf<{ rows: Measured[]; memory?: EngineMemory }>(stdout);
    return rows.map(({ shape, seconds }) => ({
      what: shape.join(" × "),
      value: 1000 * seconds,
      unit: "ms",
      ...peakOf(memory),
    }));
  },

  suite({ stdout }) {
    const { passed, failures } = jsonOf<{ passed: number; failures: { test: string }[] }>(stdout);
    return verdict(
      passed,
      failures.map(({ test }) => test),
    );
  },

  tests({ stdout, stderr }) {
    const text = `${stdout}\n${stderr}`;
    const passed = Number(/^\s*(\d+) pass$/m.exec(text)?.[1] ?? 0);
    return verdict(
      passed,
      [...text.matchAll(/^\(fail\) (.*?)( \[.*\])?$/gm)].map(([, name]) => name as string),
    );
  },
} satisfies Record<string, Reader>;

/** The last line with JSON, or the whole output. */
function jsonOf<Answer>(stdout: string): Answer {
  const text = stdout.trim();
  const from = text.startsWith("{") ? 0 : text.lastIndexOf("\n{") + 1;
  return JSON.parse(text.slice(from)) as Answer;
}

/** Of the GPU's memory if there is one. */
function peakOf(memory: EngineMemory | undefined): { peak?: number } {
  const peak = memory?.gpu?.peak ?? (memory?.gpu ? memory.gpu.total - memory.gpu.available : memory?.peak);
  return peak === undefined ? {} : { peak };
}

/** Failed tests are named in the table, in rows of their own. */
function verdict(passed: number, failed: readonly string[]): Row[] {
  if (passed + failed.length === 0) throw new Error("no test ran");
  const shown = failed.slice(0, 20).map((test) => ({ what: `failed: ${test}`, value: 1, unit: "test" }));
  return [
    { what: "passed", value: passed, unit: "tests" },
    { what: FAILED_TESTS, value: failed.length, unit: "tests" },
    ...shown,
  ];
}
