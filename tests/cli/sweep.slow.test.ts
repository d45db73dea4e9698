// gblr sweep as it is called: a grid of experiments on tiny images, each in its folder; called again it does nothing twice;
// one that fails leaves the others be.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseVaried, repetitionsOf } from "../../workbench/cli/shared/options.ts";
import { UsageError } from "../../workbench/cli/shared/program.ts";
import { paletteFor } from "../../workbench/cli/shared/terminal.ts";
import { sweepTable } from "../../workbench/cli/shared/view.ts";
import {
  acrossSeeds,
  type RepeatedResult,
  type SweepResult,
  sweepChart,
} from "../../workbench/pipeline/results/sweep-results.ts";
import { gridOf } from "../../workbench/pipeline/sweep.ts";
import { readResults } from "../../workbench/report/results-file.ts";
import { environment } from "../distributed/start.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, run, start } from "../pipeline/tiny-hub.ts";
import { makeTinyImages, QUICK_VIT } from "../pipeline/tiny-images.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
let place: { hub: string; work: string };
let shared: string[];

beforeAll(async () => {
  const images = await makeTinyImages(folder("images"), { each: 4 });
  place = { hub: folder("hub"), work: folder("work") };
  for (const path of Object.values(place)) mkdirSync(path);
  shared = ["--", "--dataset", images, ...QUICK_VIT, "--steps", "2", "--shrink", "none"];
});

const sweep = (...args: string[]) => run(GBLR, ["sweep", "vit-s-cifar10", ...args, ...shared], place);
const at = (...names: string[]) => join(place.work, ...names);

interface Told {
  runs: { values: Record<string, string>; folder: string; status: string; error?: string }[];
  results: SweepResult[];
  files: string[];
}

describe("a grid of two budgets and two structures", () => {
  const GRID = ["--vary", "budget=0.4,0.6", "--vary", "structure=gblr,lowrank", "--out", "grid", "--json"];
  let told: Told;

  beforeAll(async () => {
    const { code, stdout, stderr } = await sweep(...GRID);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    told = JSON.parse(stdout);
  }, PATIENCE);

  test("every combination is run in a folder of its own, with what it says", () => {
    expect(told.runs.map(({ values }) => Object.values(values).join(" "))).toEqual([
      "0.4 gblr",
      "0.4 lowrank",
      "0.6 gblr",
      "0.6 lowrank",
    ]);
    for (const { values, folder: own, status } of told.runs) {
      expect(status).toBe("finished");
      const { settings } = JSON.parse(readFileSync(at(own, "run.json"), "utf8"));
      expect(settings).toMatchObject({ structure: values.structure, budget: Number(values.budget) });
    }
  });

  test("the table has the model that all began with once, and each model that was trained", () => {
    expect(told.results.map(({ name, stage }) => `${name} ${stage}`)).toEqual([
      "dense, untrained before",
      "GBLR, SVD after",
      "low rank after",
      "GBLR, SVD after",
      "low rank after",
    ]);
    const [, first, , third] = told.results.map(({ relativeFlops }) => relativeFlops?.reference as number);
    expect(first as number).toBeLessThan(third as number);
    for (const { values, metrics } of told.results.slice(1)) {
      const own = told.runs.find(
        (one) => one.values.budget === values.budget && one.values.structure === values.structure,
      );
      const rows: SweepResult[] = JSON.parse(readFileSync(at(own?.folder as string, "comparison.json"), "utf8"));
      expect(metrics).toEqual(rows.find(({ stage }) => stage === "after")?.metrics as typeof metrics);
    }
  });

  test("the plot is there as PNG, SVG and its data", () => {
    expect(told.files).toEqual(["grid/results.json", "grid/cost.svg", "grid/cost.png", "grid/cost.json"]);
    expect([...readFileSync(at("grid/cost.png")).subarray(1, 4)]).toEqual([..."PNG"].map((sign) => sign.charCodeAt(0)));
    const { layer } = JSON.parse(readFileSync(at("grid/cost.json"), "utf8"));
    expect(layer.at(-1).data.values).toHaveLength(4);
    expect(readFileSync(at("grid/cost.svg"), "utf8")).toContain("top-1 accuracy");
  });

  test(
    "called again it runs nothing and tells the same; more values run only what is new",
    async () => {
      const files = readdirSync(at("grid")).filter((name) => name.includes("+"));
      const written = () => files.map((name) => statSync(at("grid", name, "run.json")).mtimeMs);
      const before = written();
      const again = await sweep(...GRID);
      expect(JSON.parse(again.stdout)).toEqual(told);
      const more = await sweep("--vary", "budget=0.4,0.5,0.6", "--vary", "structure=lowrank", "--out", "grid");
      expect({ code: more.code, stderr: more.stderr }).toEqual({ code: 0, stderr: "" });
      expect(more.stdout.match(/already done/g)).toHaveLength(2);
      expect(more.stdout).toContain("finished, grid/budget-0.5+structure-lowrank/report.html");
      expect(written()).toEqual(before);
    },
    PATIENCE,
  );

  test("a sweep with other flags, or of another recipe, needs another folder", async () => {
    const { code, stderr } = await run(GBLR, ["sweep", "vit-s-cifar10", ...GRID, "--", "--steps", "3"], place);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^gblr: grid has a sweep of another recipe or with other flags[^\n]*--out\n$/);
  });
});

test(
  "variants that are not trained have their converted models in the table",
  async () => {
    const args = ["--vary", "budget=0.4,0.6", "--out", "untrained", "--json"];
    const none = ["--structure", "lowrank", "--compare", "gblr", "--fine-tune", "none"];
    const { code, stdout, stderr } = await run(GBLR, ["sweep", "vit-s-cifar10", ...args, ...shared, ...none], place);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { results, files } = JSON.parse(stdout) as Told;
    expect(results.map(({ name, stage, values }) => `${name} ${stage} ${values.budget ?? ""}`)).toEqual([
      "dense, untrained before ",
      "GBLR, SVD before 0.4",
      "low rank before 0.4",
      "GBLR, SVD before 0.6",
      "low rank before 0.6",
    ]);
    expect(files).toContain("untrained/cost.png");
  },
  PATIENCE,
);

test(
  "one that fails leaves the others be, and is told at the end",
  async () => {
    const { code, stdout, stderr } = await sweep(
      "--vary",
      "structure=lowrnk,lowrank",
      "--vary",
      "budget=0.5",
      "--json",
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gblr: 1 of 2 runs failed; structure lowrnk, budget 0\.5: [^\n]*lowrnk[^\n]*\n$/);
    const told: Told = JSON.parse(stdout);
    expect(told.runs.map(({ status }) => status)).toEqual(["failed", "finished"]);
    expect(told.results.map(({ name }) => name)).toEqual(["dense, untrained", "low rank"]);
  },
  PATIENCE,
);

test(
  "Ctrl-C ends the run where it can be gone on with, and the same command goes on",
  async () => {
    const args = ["sweep", "vit-s-cifar10", "--vary", "structure=lowrank,monarch", "--vary", "budget=0.5"];
    const all = [...args, "--out", "stopped", ...shared];
    const child = start(GBLR, all, place);
    const stderr = new Response(child.stderr).text();
    let told = "";
    for await (const bytes of child.stdout) {
      const before = told.includes("2 of 2");
      told += new TextDecoder().decode(bytes);
      // Once: a second time ends it at once.
      if (!before && told.includes("2 of 2")) child.kill("SIGINT");
    }
    expect(await child.exited).toBe(130);
    expect(await stderr).toMatch(/^gblr: interrupted; the finished runs are in stopped: [^\n]*\n$/);
    const again = await run(GBLR, all, place);
    expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: "" });
    expect(again.stdout.match(/already done/g)).toHaveLength(1);
  },
  PATIENCE,
);

test(
  "a sweep that is killed leaves its run going, which the same command does not take for a failure",
  async () => {
    const args = ["sweep", "vit-s-cifar10", "--vary", "structure=lowrank,monarch", "--vary", "budget=0.5"];
    const all = [...args, "--out", "killed", ...shared];
    const child = start(GBLR, all, place);
    for await (const bytes of child.stdout) if (new TextDecoder().decode(bytes).includes("1 of 2")) break;
    while (!readdirSync(at("killed")).includes("structure-lowrank+budget-0.5")) await Bun.sleep(5);
    while (!readdirSync(at("killed", "structure-lowrank+budget-0.5")).includes(".lock")) await Bun.sleep(5);
    child.kill("SIGKILL");
    await child.exited;
    const again = await run(GBLR, all, place);
    expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: "" });
    expect(again.stdout.match(/ {2}(finished|already done), killed/g)).toHaveLength(2);
  },
  PATIENCE,
);

test(
  "two processes of a launcher divide the runs, each of which has one process, and the first one prints all",
  async () => {
    const args = ["sweep", "vit-s-cifar10", "--vary", "structure=lowrank,monarch,lowrnk", "--vary", "budget=0.4,0.6"];
    const all = [...args, "--out", "divided", ...shared];
    const rank = (number: number) => run(GBLR, all, { ...place, env: environment(number, 2, 29_499) });
    const later = rank(1);
    const begun = () =>
      existsSync(at("divided")) ? readdirSync(at("divided")).filter((name) => name.includes("+")) : [];
    while (begun().length === 0) await Bun.sleep(5);
    expect(begun()).toEqual(["structure-lowrank+budget-0.6"]);
    const [first, second] = await Promise.all([rank(0), later]);
    expect(second).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(first.code).toBe(1);
    expect(first.stderr).toMatch(/^gblr: 2 of 6 runs failed; structure lowrnk, budget 0\.4: /);
    // The run with which the other process began, at least.
    expect(first.stdout).toMatch(/structure lowrank, budget 0\.6 …\n {2}already done, /);
    expect(first.stdout.match(/ {2}(finished|already done), divided/g)).toHaveLength(4);
  },
  PATIENCE,
);

const row = (values: Record<string, string>, metrics: Record<string, number>, flops = 0.2): SweepResult => ({
  name: "GBLR, SVD",
  structure: "gblr",
  stage: "after",
  metrics,
  relativeFlops: { reference: flops, actual: flops },
  seconds: 10 * flops,
  values,
});

describe("runs that differ by their seed alone", () => {
  const results: SweepResult[] = [
    { ...row({}, { top1: 0.7, loss: 1 }), name: "dense", structure: "dense", stage: "before" },
    { ...row({}, { top1: 0.9, loss: 1 }), name: "dense", structure: "dense", stage: "before" },
    { ...row({ budget: "0.1", seed: "1" }, { top1: 0.5, loss: 1 }, 0.2), parameters: 9 },
    row({ budget: "0.1", seed: "2" }, { top1: 0.54, loss: 2 }, 0.3),
    row({ budget: "0.2", seed: "1" }, { top1: 0.6, loss: 1 }),
    row({ budget: "0.1", seed: "3" }, { top1: 0.52, loss: 6 }, 0.4),
  ];

  test("are told as their mean and standard deviation, others as they are", () => {
    const [first, second, three, one] = acrossSeeds(results);
    expect([first, second, one]).toEqual([0, 1, 4].map((i) => ({ ...(results[i] as SweepResult), runs: 1 })));
    expect(three).toMatchObject({ values: { budget: "0.1" }, runs: 3, name: "GBLR, SVD" });
    expect(three?.metrics.top1).toBeCloseTo(0.52, 12);
    expect(three?.spread?.top1).toBeCloseTo(0.02, 12);
    expect(three?.metrics.loss).toBe(3);
    expect(three?.spread?.loss).toBeCloseTo(Math.sqrt(7), 12);
    expect(three?.relativeFlops?.reference).toBeCloseTo(0.3, 12);
    expect(three?.seconds).toBeCloseTo(3, 12);
    // Not all of them say it.
    expect(three?.parameters).toBeUndefined();
  });

  test("are one mean with those that differ by the seed of their calibration too", () => {
    const seeds = ["0", "1"].flatMap((seed) => ["0", "1"].map((own) => ({ seed, "calibration-seed": own })));
    const rows = seeds.map((own, i) => row({ budget: "0.1", ...own }, { top1: 0.1 * i, loss: 1 }));
    const [all, ...others] = acrossSeeds(rows);
    expect(others).toEqual([]);
    expect(all).toMatchObject({ values: { budget: "0.1" }, runs: 4 });
    expect(all?.metrics.top1).toBeCloseTo(0.15, 12);
    expect(repetitionsOf({ seeds: "0,1", calibrationSeeds: "2" })).toEqual([
      { setting: "seed", values: ["0", "1"] },
      { setting: "calibration-seed", values: ["2"] },
    ]);
    expect(() => repetitionsOf({ calibrationSeeds: "1,1" })).toThrow(
      "--calibration-seeds 1,1: give different whole numbers, e.g. --calibration-seeds 0,1,2",
    );
  });

  test("are one line of the table, and one point of the plot with a bar", () => {
    const lines = sweepTable(acrossSeeds(results), paletteFor({ isTTY: false }, {}));
    expect(lines[1]).toMatch(/^ +budget +seed +model +runs +top-1 accuracy .*\(reference\) +\(actual\)/);
    expect(lines).toHaveLength(6);
    expect(lines[4]).toMatch(/^ +0\.1 +GBLR, SVD +3 +52\.00 % ± 2\.00 % +3\.0000 ± 2\.6458 +30\.0 %/);
    const spec = sweepChart("r", results)?.spec as unknown as { layer: { data: { values: unknown[] } }[] };
    const [, bars, curves] = spec.layer.map(({ data }) => data.values);
    expect(bars).toEqual([expect.objectContaining({ series: "GBLR, SVD" })]);
    expect(curves).toHaveLength(2);
  });

  test(
    "are run each, and kept each",
    async () => {
      const flags = ["--vary", "structure=lowrank", "--vary", "budget=0.5", "--seeds", "1,2", "--json"];
      const { code, stdout, stderr } = await sweep(...flags, "--out", "seeds");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const { results, means } = JSON.parse(stdout) as { results: SweepResult[]; means: RepeatedResult[] };
      const [one, two] = results.filter(({ stage }) => stage === "after");
      const [both] = means.filter(({ runs }) => runs === 2);
      expect([one?.values.seed, two?.values.seed]).toEqual(["1", "2"]);
      expect(both?.metrics.loss).toBeCloseTo(((one?.metrics.loss as number) + (two?.metrics.loss as number)) / 2, 9);
      const whole = (await readResults(at("seeds"))).results;
      expect(whole).toMatchObject({ status: "finished", recipe: "sweep vit-s-cifar10", seed: 1 });
      const after = whole.rows.filter(({ stage }) => stage === "after");
      expect(after.map(({ seeds, settings }) => [seeds?.seed, settings])).toEqual([
        [1, { seed: 1 }],
        [2, { seed: 2 }],
      ]);
      expect(after.map(({ metrics }) => metrics)).toEqual([one, two].map((row) => row?.metrics as never));
    },
    PATIENCE,
  );
});

test("what is no recipe is told with those that there are", async () => {
  const { code, stderr } = await run(GBLR, ["sweep", "vit", "--vary", "budget=1"], place);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^gblr: there is no recipe "vit"; give one of [^\n]*vit-s-cifar10[^\n]*\n$/);
});

test("grids are the product of their values, the last changing fastest", () => {
  const points = gridOf([parseVaried("budget=0.1,0.2"), parseVaried("--learningRate=1e-3")]);
  expect(points.map(({ key }) => key)).toEqual(["budget-0.1+learning-rate-1e-3", "budget-0.2+learning-rate-1e-3"]);
  expect(points[1]?.flags).toEqual(["--budget=0.2", "--learning-rate=1e-3"]);
});

test.each(["budget", "=0.1", "budget=", "budget=0.1,,0.2", "budget=0.1,0.1", "run=a,b"])(
  "--vary %p is refused",
  (text) => {
    expect(() => parseVaried(text)).toThrow(UsageError);
  },
);

test("a setting varied twice is refused", () => {
  expect(() => gridOf([parseVaried("budget=1"), parseVaried("budget=2")])).toThrow("--vary budget is given twice");
});

test("ways to compress are curves of their own, also where another setting tells them apart", () => {
  const of = (flops: number, rate: string): SweepResult =>
    row({ budget: String(flops), "learning-rate": rate }, { perplexity: 20 + flops, nll: 3 }, flops);
  const spec = sweepChart("r", [of(0.2, "1"), of(0.3, "1"), of(0.2, "2")])?.spec as unknown as {
    layer: { data: { values: unknown[] } }[];
  };
  expect(spec.layer.at(-1)?.data.values).toEqual([
    { x: 0.2, y: 20.2, series: "GBLR, SVD, learning-rate 1" },
    { x: 0.3, y: 20.3, series: "GBLR, SVD, learning-rate 1" },
    { x: 0.2, y: 20.2, series: "GBLR, SVD, learning-rate 2" },
  ]);
  expect(sweepChart("r", [])).toBeUndefined();
});
