// `gblr compare` on results that are written here: what is averaged, what is refused, which settings are listed as
// different, and what the table and the plot show.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { addCompare } from "../../workbench/cli/compare.ts";
import type { ComparisonRow } from "../../workbench/evaluate/comparison-row.ts";
import { compareResults } from "../../workbench/report/compare/compare.ts";
import { compareLayers } from "../../workbench/report/compare/layers.ts";
import { type Chart, chartToFiles } from "../../workbench/report/index.ts";
import type { Results } from "../../workbench/report/results.ts";
import { writeResultsFile } from "../../workbench/report/results-file.ts";
import { runVerb } from "../cli/in-process.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { decodePng } from "./decode-png.ts";
import { facts } from "./example-run.ts";

const at = temporaryFolder();
const compare = (...args: string[]) => runVerb(addCompare, ["compare", ...args]);

const DENSE: ComparisonRow = {
  ...{ name: "dense", structure: "dense", stage: "before", metrics: { perplexity: 20, nll: Math.log(20) } },
  ...{ parameters: 1000, linear: { parameters: 800, dense: 800 }, measured: { tokens: 500, context: 50 } },
};

interface Own {
  name?: string;
  seed?: number;
  share?: number;
  sha?: string;
  stage?: ComparisonRow["stage"];
}

/** A row of a converted model. */
function gblr(
  perplexity: number,
  { name = "GBLR", seed = 1, share = 0.5, sha = "a", stage = "after" }: Own = {},
): ComparisonRow {
  return {
    ...DENSE,
    ...{
      name,
      structure: name === "GBLR" ? "gblr" : "lowrank",
      stage,
      metrics: { perplexity, nll: Math.log(perplexity) },
    },
    ...{ method: { init: "svd", allocation: "uniform" }, budget: { budget: share }, seeds: { seed } },
    ...{ parameters: 200 + 800 * share, linear: { parameters: 800 * share, dense: 800 } },
    calibration: { samples: 8, sha256: sha.repeat(64) },
  };
}

let written = 0;
async function results(rows: ComparisonRow[], changes: Partial<Results> = {}): Promise<string> {
  const { targetCost: _, steps: _1, settings, ...rest } = facts();
  const times = { started: "2026-01-02T03:04:05.000Z", updated: "2026-01-02T04:04:05.000Z" };
  const file = at(`${++written}.json`);
  const whole = { ...rest, ...times, format: 1 as const, status: "finished" as const, split: "test" };
  await writeResultsFile(file, { ...whole, settings: { ...settings, ...changes.settings }, rows, ...without(changes) });
  return file;
}

const without = ({ settings: _, ...changes }: Partial<Results>): Partial<Results> => changes;

test("rows that differ only in seeds and calibration data are their mean, with its standard deviation", async () => {
  const values = [30, 33, 39];
  const files = await Promise.all(
    values.map((value, i) =>
      results([DENSE, gblr(value, { seed: i, sha: "abc"[i] as string })], { settings: { seed: i }, seed: i }),
    ),
  );
  const { groups, repeatedOver, differing } = await compareResults(files);
  expect(groups.map(({ rows }) => rows.length)).toEqual([1, 3]);
  const [dense, mean] = groups;
  expect(dense?.values.perplexity).toBe(20);
  expect(dense?.spread).toBeUndefined();
  // 34 ± √((16 + 1 + 25) / 2)
  expect(mean?.values.perplexity).toBeCloseTo(34, 12);
  expect(mean?.spread?.perplexity).toBeCloseTo(Math.sqrt(21), 12);
  expect(repeatedOver).toEqual({ seed: ["0", "1", "2"], calibration: ["a", "b", "c"].map((sign) => sign.repeat(12)) });
  expect(differing).toEqual({});
});

test("a run that is given twice counts once", async () => {
  const file = await results([DENSE, gblr(30)]);
  const { groups } = await compareResults([file, file]);
  expect(groups.map(({ rows, spread }) => [rows.length, spread])).toEqual([
    [1, undefined],
    [1, undefined],
  ]);
});

test("rows of other settings, methods, versions or engines are not averaged, and what differs is listed", async () => {
  const base = await results([DENSE, gblr(30)], { settings: { learningRate: 0.001 } });
  const others = [
    await results([DENSE, gblr(31)], { settings: { learningRate: 0.002 } }),
    await results([DENSE, { ...gblr(32), method: { init: "svd", allocation: "uniform", reorder: true } }], {
      settings: { learningRate: 0.001 },
    }),
    await results([DENSE, gblr(33)], { settings: { learningRate: 0.001 }, versions: { gblr: "0.2.0" } }),
    await results([DENSE, gblr(34)], { settings: { learningRate: 0.001 }, precision: "bfloat16" }),
    await results([DENSE, gblr(35, { share: 0.3 })], { settings: { learningRate: 0.001, budget: 0.3 } }),
  ];
  for (const other of others) {
    const { groups } = await compareResults([base, other]);
    expect(groups.filter(({ first }) => first.name === "GBLR").map(({ rows }) => rows.length)).toEqual([1, 1]);
  }
  const { differing, table } = await compareResults([base, ...others.slice(0, 2)]);
  expect(differing).toEqual({ learningRate: ["0.001", "0.002"], reorder: ["unset", "true"] });
  const models = table.rows.map(([model]) => model);
  expect(models).toEqual([
    "dense",
    "GBLR, learningRate 0.001",
    "GBLR, learningRate 0.002",
    "GBLR, reorder true, learningRate 0.001",
  ]);
});

test("results of another model, revision, data set, split, measurement, metric or task are refused, and named", async () => {
  const base = await results([DENSE, gblr(30)]);
  const images = { ...gblr(1), metrics: { top1: 0.5 } };
  const cases: [string, Partial<Results>, ComparisonRow?][] = [
    ["the model differs", { model: { name: "gblr/other" } }],
    ["the model's revision differs", { model: { name: "gblr/gpt2-mini", revision: "f".repeat(40) } }],
    ["the data differs", { dataset: { name: "gblr/other-text" } }],
    ["the data differs", { split: "validation" }],
    ["the measurement differs", {}, { ...gblr(30), measured: { tokens: 500, context: 25 } }],
    ["the metric differs", {}, images],
    ["the task differs", { task: "image-classification" }, images],
  ];
  for (const [reason, changes, row = gblr(30)] of cases) {
    const other = await results([row], changes);
    const { code, stdout, stderr } = await compare(base, other);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^gblr: [^\n]*cannot be compared: [^\n]*; give results of one model[^\n]*--force\n$/);
    expect(stderr).toContain(`${reason} (`);
    const forced = await compare(base, other, "--force");
    expect(forced.code).toBe(0);
    expect(forced.stdout).toContain(`compared by force although ${reason} (`);
  }
});

test("a model that was made from another is of the same model, and methods are compared, not folders", async () => {
  const { model } = facts();
  const derived = (name: string) => ({ name, base: model.name, baseRevision: model.revision });
  const files = [
    await results([DENSE, gblr(30, { seed: 1 })]),
    await results([gblr(32, { seed: 2 })], { model: derived("runs/a") }),
  ];
  const { groups } = await compareResults(files);
  expect(groups.map(({ rows }) => rows.length)).toEqual([1, 2]);
});

test("conversions that nobody has measured are compared by the errors of their layers", async () => {
  const bare = (outputs: number, name: string) => ({
    ...gblr(1, { name }),
    metrics: {},
    layerErrors: { weights: 0.5, outputs },
  });
  const { metrics, table } = await compareResults([
    await results([bare(0.25, "GBLR")]),
    await results([bare(0.5, "low rank")]),
  ]);
  expect(metrics).toEqual(["outputError"]);
  expect(table.headings).toContain("output error");
  expect(table.rows.map((row) => row[table.headings.indexOf("output error")])).toEqual(["0.2500", "0.5000"]);
});

interface Mark {
  data: { values: { x?: number; y?: number; low?: number; high?: number; series: string }[] };
}

/** The data of each layer of a chart. */
const layersOf = (chart: Chart | undefined) =>
  (chart as unknown as { spec: { layer: Mark[] } }).spec.layer.map(({ data }) => data.values);

let figures: string[] = [];
beforeAll(async () => {
  figures = [
    await results([DENSE, gblr(60, { share: 0.25 }), gblr(30, { share: 0.5 })]),
    await results([DENSE, gblr(50, { share: 0.25, seed: 2 }), gblr(34, { share: 0.5, seed: 2 })]),
    await results([
      gblr(90, { name: "low rank", share: 0.25 }),
      gblr(45, { name: "low rank, budget 50 %", share: 0.5 }),
    ]),
  ];
});

test("the plot has a line for each method over the share of parameters, bars of deviations, and the base model", async () => {
  const { chart } = await compareResults(figures);
  const [lines, bars, curves] = layersOf(chart);
  expect(lines).toEqual([{ y: 20, series: "dense" }]);
  expect(curves?.map(({ x, y, series }) => [series, x, y])).toEqual([
    ["GBLR", 0.25, 55],
    ["GBLR", 0.5, 32],
    ["low rank", 0.25, 90],
    ["low rank", 0.5, 45],
  ]);
  const half = Math.sqrt(50);
  expect(bars?.map(({ low, high }) => [low, high])).toEqual([
    [expect.closeTo(55 - half, 9), expect.closeTo(55 + half, 9)],
    [expect.closeTo(32 - Math.sqrt(8), 9), expect.closeTo(32 + Math.sqrt(8), 9)],
  ]);
  const whole = await compareResults(figures, { x: "parameters" });
  const [, , points] = layersOf(whole.chart);
  // 200 parameters beside 800 in linear layers
  expect(points?.map(({ x }) => x)).toEqual([0.4, 0.6, 0.4, 0.6]);
});

test("bars of deviations that would reach below 0 end at the lowest point of a logarithmic axis", async () => {
  const seeds = [100, 5000].map((value, seed) => results([DENSE, gblr(value, { seed })], { seed }));
  const { chart } = await compareResults(await Promise.all(seeds));
  const [, bars] = layersOf(chart);
  expect(bars?.map(({ low, high }) => [low, high])).toEqual([[20, expect.closeTo(2550 + 4900 / Math.SQRT2, 6)]]);
  const [svg] = await chartToFiles(chart as Chart, at("wide"));
  expect(await Bun.file(svg as string).text()).not.toContain("NaN");
});

test("the verb prints a table, Markdown or JSON, and writes the plot", async () => {
  mkdirSync(at("figures"));
  const shown = await compare(...figures, "--plot", at("figures", "ppl.png"));
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  const [, headings, ...lines] = shown.stdout.split("\n");
  expect(headings).toMatch(/^ {2}model +fine-tuning +runs +perplexity +parameters$/);
  expect(lines[1]).toMatch(/^ {2}GBLR +after +2 +55\.00 ± 7\.07 +25\.0 %$/);
  expect(shown.stdout).toContain("mean ± standard deviation over seed 1, 2\n");
  for (const ending of ["svg", "png", "json"]) expect(existsSync(at("figures", `ppl.${ending}`))).toBe(true);
  const { width, height } = decodePng(new Uint8Array(await Bun.file(at("figures", "ppl.png")).arrayBuffer()));
  expect(width * height).toBeGreaterThan(100_000);
  const { stdout: markdown } = await compare(...figures, "--markdown");
  expect(markdown).toStartWith(
    "| model | fine-tuning | runs | perplexity | linear parameters |\n| --- | --- | --: | --: | --: |\n",
  );
  expect(markdown).toContain("| low rank | after | 1 | 90.00 | 25.0 % |\n");
  const document = JSON.parse((await compare(...figures, "--json")).stdout);
  expect(document.rows[1]).toMatchObject({ name: "GBLR", runs: 2, values: { perplexity: 55 } });
  expect(document.rows[1].each.map(({ seeds }: { seeds: object }) => seeds)).toEqual([{ seed: 1 }, { seed: 2 }]);
});

test("--stage chooses rows of one stage, and a note says that a run has not ended", async () => {
  const file = await results([DENSE, gblr(60, { stage: "before" }), gblr(30)], { status: "running" });
  const { table, notes } = await compareResults([file], { stage: "after" });
  expect(table.rows.map(([name, stage]) => `${name} ${stage}`.trim())).toEqual(["dense", "GBLR after"]);
  expect(notes).toEqual([`${file} is running or was killed: its rows so far are shown`]);
  const untrained = await results([gblr(60, { stage: "before" })]);
  await expect(compareResults([untrained], { stage: "after" })).rejects.toThrow(
    `${untrained}: there is no row after fine-tuning; leave out --stage`,
  );
});

test("layers are not compared with those of a folder that does not say how they were calibrated", async () => {
  const folder = at("converted");
  mkdirSync(folder);
  const layer = {
    layer: "a.fc",
    structure: "lowrank",
    nIn: 4,
    nOut: 4,
    costBefore: 16,
    costAfter: 8,
    outputError: 0.2,
  };
  writeFileSync(at("converted", "conversion.json"), JSON.stringify([layer]));
  await expect(compareLayers([{ reference: folder, folder }])).rejects.toThrow(
    /run\.json: is missing, which says how layers were calibrated; give the run folder of a variant$/,
  );
});

test("what cannot be done is an error of one line", async () => {
  const file = await results([DENSE, gblr(30)]);
  const usage = await compare();
  expect(usage).toMatchObject({
    code: 2,
    stderr: "gblr: no results are given; give results.json or folders of runs\n",
  });
  const both = await compare(file, "--json", "--markdown");
  expect(both).toMatchObject({
    code: 2,
    stderr: "gblr: option '--markdown' cannot be used with option '--json'\n",
  });
  for (const flags of [["--metric", "nll"], ["--x", "flops"], ["--stage", "after"], ["--force"]]) {
    const layers = await compare(file, file, "--layers", ...flags);
    expect(layers.code).toBe(2);
    expect(layers.stderr).toMatch(/^gblr: option '--layers' cannot be used with option '--\w+[^\n]*\n$/);
  }
  const metric = await compare(file, "--metric", "top1");
  expect(metric.code).toBe(1);
  expect(metric.stderr).toMatch(/^gblr: [^\n]*there is no metric "top1"; give one of perplexity, nll\n$/);
  const plot = await compare(await results([DENSE]), "--plot", at("none"));
  expect(plot.stderr).toMatch(/^gblr: nothing to plot: no row has perplexity and the quantity of --x\n$/);
  writeFileSync(at("half.json"), '{"format": 1, "rows": [');
  const half = await compare(file, at("half.json"));
  expect(half.stderr).toMatch(/^gblr: [^\n]*half\.json: cannot be read as results: it is not whole JSON[^\n]*\n$/);
});
