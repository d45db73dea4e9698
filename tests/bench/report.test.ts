// The arithmetic and the page of the engine bench, on samples written by hand. What it measures is not tested: a
// machine is as fast as it is.

import { expect, test } from "bun:test";
import { type BenchReport, formatSeconds, markdown } from "../../bench/engine/report.ts";
import { type CaseResult, medianOf, ratioOf } from "../../bench/engine/run.ts";

const PRODUCT: CaseResult = {
  title: "matrix product",
  samples: { torch: [0.001, 0.002, 0.009], PyTorch: [0.002, 0.004, 0.003] },
  failures: {},
};

const REPORT: BenchReport = {
  date: "2031-05-06T07:08:09.000Z",
  machine: {
    runtime: { name: "Bun", version: "1" },
    system: "Debian",
    kernel: "Linux 6",
    architecture: "x64",
    cpu: "Abacus",
    cores: 2,
    memory: 1e9,
  },
  setting: { device: "cpu", precision: "float32", threads: 2, rounds: 3 },
  contestants: {
    torch: { version: "libtorch 1", device: "cpu", threads: 2 },
    PyTorch: { version: "PyTorch 1", device: "cpu", threads: 1 },
    OpenBLAS: { version: "OpenBLAS 1", device: "cpu", threads: 2 },
  },
  absent: { wasm: "it is not there" },
  waiting: { torch: 0.02, PyTorch: 0.01, OpenBLAS: 0 },
  cases: [PRODUCT, { title: "attention", samples: { torch: [] }, failures: { torch: "out of memory" } }],
  faults: { torch: { faults: [500, 40, 3, 2, 1, 10, 20], held: 2e6 }, PyTorch: { failure: "killed" } },
};

function cells(line: string | undefined): string[] {
  return (line ?? "")
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

test("a ratio compares samples of the same round, not the medians", () => {
  // by round 1/2, 1/2 and 3; the medians alone would give 2/3
  expect(ratioOf(PRODUCT, "torch", "PyTorch")).toBe(0.5);
  expect(medianOf(PRODUCT, "torch")).toBe(0.002);
});

test("a ratio uses the rounds that both took part in, and there is none without", () => {
  const uneven = { ...PRODUCT, samples: { torch: [4, 100, 100], slow: [2] } };
  expect(ratioOf(uneven, "torch", "slow")).toBe(2);
  expect(ratioOf(PRODUCT, "torch", "wasm")).toBeUndefined();
  expect(medianOf(PRODUCT, "wasm")).toBeUndefined();
});

test("the page has a row for each case and leaves out a contestant that ran none", () => {
  const lines = markdown(REPORT).split("\n");
  const heading = lines.findIndex((line) => line.startsWith("| case"));
  expect(cells(lines[heading])).toEqual(["case", "torch", "PyTorch", "torch/PyTorch"]);
  expect(cells(lines[heading + 2])).toEqual(["matrix product", "2.00 ms", "3.00 ms", "0.50"]);
  expect(cells(lines[heading + 3])).toEqual(["attention", "failed", "", ""]);
});

test("the page says when contestants had to wait for a core, and only then", () => {
  expect(markdown(REPORT)).not.toContain("busy");
  expect(markdown({ ...REPORT, waiting: { torch: 0.62, PyTorch: 0.55, OpenBLAS: 0.1 } })).toContain(
    "waiting for a core took torch 62 %, PyTorch 55 %.\n",
  );
});

test("the page counts the first page faults one by one and averages the later ones", () => {
  const lines = markdown(REPORT).split("\n");
  expect(cells(lines.find((line) => line.startsWith("| torch ")))).toEqual([
    "torch",
    "500",
    "40",
    "3",
    "2",
    "1",
    "15.0",
    "2.00 MB",
  ]);
});

test("the page says the date, the machine, the versions, and who failed or was absent", () => {
  const page = markdown(REPORT);
  for (const fact of ["2031-05-06", "Abacus, 2 cores", "PyTorch 1, cpu, 1 thread\n", "it is not there"]) {
    expect(page).toContain(fact);
  }
  expect(page).toContain("torch failed on attention: out of memory");
  expect(page).toContain("PyTorch failed on counting page faults: killed");
});

test("times are shown in the unit that suits them", () => {
  expect([2.5, 0.0321, 0.0000034].map(formatSeconds)).toEqual(["2.50 s", "32.1 ms", "3.40 µs"]);
});
