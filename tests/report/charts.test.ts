// Charts as SVG: drawn without a browser, whatever the names in them, and right where it can be read off. The marks'
// places are compared with the data.

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { type Chart, chartElement, chartSvg } from "../../workbench/report/charts/chart.ts";
import { commonMistakes, confusionChart } from "../../workbench/report/charts/classification.ts";
import { evaluationChart, shownMetrics } from "../../workbench/report/charts/evaluation.ts";
import { costChart, finalWidthsChart, widthHistoryChart } from "../../workbench/report/charts/structure.ts";
import { lossChart, stepCharts } from "../../workbench/report/charts/training.ts";
import { chartToFiles } from "../../workbench/report/index.ts";
import { evaluationsOf, stepsOf, structuresOf } from "../../workbench/report/metrics-log.ts";
import type { StructureMetrics } from "../../workbench/train/metrics.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { decodePng } from "./decode-png.ts";
import { metricLines, ROWS, row, SMALL } from "./example-run.ts";

const at = temporaryFolder();
const HOSTILE = `</svg><script>alert("x")</script>'&\u0000\ud800 h.0`;
const lines = metricLines(SMALL);
const [steps, evaluations, structures] = [stepsOf(lines), evaluationsOf(lines), structuresOf(lines)];

/** y of each point of every path that is drawn of straight lines. */
function pathHeights(svg: string): number[][] {
  const paths = [...svg.matchAll(/ d="(M[^"Z]+)"/g)].map(([, d]) => d as string);
  return paths.map((d) => [...d.matchAll(/,(-?[\d.]+)/g)].map(([, y]) => Number(y)));
}

test("the curve of the loss lies where its values are", async () => {
  const losses = steps.map((_, i) => 3 + (i % 3));
  const svg = await chartSvg(lossChart(steps.map((step, i) => ({ ...step, loss: losses[i] as number }))));
  const heights = pathHeights(svg).find((ys) => ys.length === steps.length) as number[];
  const [low, middle, high] = heights as [number, number, number];
  expect(middle - high).toBeCloseTo(low - middle, 3);
  expect(low - high).toBeGreaterThan(50); // smaller losses are lower, and y grows downwards
  for (const [i, y] of heights.entries())
    expect(y).toBeCloseTo(low + ((high - low) * (losses[i] as number) - 3 * (high - low)) / 2, 2);
});

const charts: [string, () => Chart | undefined][] = [
  ["loss", () => lossChart(steps)],
  ["loss of one step", () => lossChart(steps.slice(0, 1))],
  ...[0, 1, 2, 3].map((i): [string, () => Chart | undefined] => [
    `curve ${i}`,
    () => stepCharts(steps, { unit: "tokens" })[i],
  ]),
  ["evaluation", () => evaluationChart("perplexity", { evaluations, comparison: ROWS })],
  ["evaluation alone", () => evaluationChart("perplexity", { evaluations: evaluations.slice(0, 1) })],
  ["cost", () => costChart(steps, structures, { target: 0.4375 })],
  ["final widths", () => finalWidthsChart(structures.at(-1) as StructureMetrics)],
  ["widths over time", () => widthHistoryChart(structures)],
  [
    "confusion",
    () =>
      confusionChart(
        ["a", "b", "b"],
        [
          [3, 1, 0],
          [0, 4, 0],
          [1, 1, 0],
        ],
      ),
  ],
];

test.each(charts)("the chart of %s is one well-formed drawing with numbers alone in its paths", async (_, make) => {
  const chart = make() as Chart;
  const svg = await chartSvg(chart);
  expect(svg.match(/<svg\b/g)).toHaveLength(1);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  expect(svg).toMatch(/<path|<line/);
  const element = await chartElement(chart, "it");
  expect(element).toMatch(
    /^<svg [^>]*viewBox="0 0 \d+ \d+"[^>]* role="img" aria-labelledby="it-title it-desc"><title id="it-title">/,
  );
  for (const [, id] of element.matchAll(/\bid="([^"]+)"/g)) expect(id).toMatch(/^it-/);
  for (const [, id] of element.matchAll(/url\(#([^)]+)\)/g)) expect(element).toContain(`id="${id}"`);
});

test("names cannot break a chart", async () => {
  const structure: StructureMetrics = {
    ...(structures[0] as StructureMetrics),
    layers: { [HOSTILE]: { live: 1, cost: 2, meanWidthIn: 0.5, meanWidthOut: 0.25 } },
  };
  const split = evaluations.map((line) => ({ ...line, split: HOSTILE }));
  const hostile = [
    evaluationChart("perplexity", { evaluations: split, comparison: [row(HOSTILE, "after", 5)] }),
    finalWidthsChart(structure),
    widthHistoryChart([structure, { ...structure, step: 99 }]),
    confusionChart(
      [HOSTILE, HOSTILE],
      [
        [1, 2],
        [3, 4],
      ],
    ),
    { ...lossChart(steps), title: HOSTILE, description: HOSTILE },
  ];
  for (const chart of hostile) {
    const svg = await chartElement(chart, "it");
    expect(svg).not.toContain("<script");
    expect(svg.match(/<\/svg>/g)).toHaveLength(1);
  }
});

test.each(["__proto__", "constructor", "toString", "valueOf", "hasOwnProperty"])(
  "%s is the name of a class or a layer like any other",
  async (name) => {
    const widths = { live: 1, cost: 2, meanWidthIn: 0.5, meanWidthOut: 0.25 };
    const layers = Object.fromEntries([name, "head"].map((layer) => [layer, widths]));
    const structure: StructureMetrics = { ...(structures[0] as StructureMetrics), layers };
    const counts = [
      [5, 2],
      [3, 7],
    ];
    for (const chart of [
      confusionChart([name, "b"], counts),
      finalWidthsChart(structure),
      widthHistoryChart([structure, { ...structure, step: 99 }]),
    ])
      expect(await chartSvg(chart)).toContain(`>${name}</text>`);
    const heights = (svg: string) => svg.match(/<path aria-label="[^"]*|<path d="M[^"]*"/g)?.length;
    const [own, plain] = [
      await chartSvg(confusionChart([name, "b"], counts)),
      await chartSvg(confusionChart(["a", "b"], counts)),
    ];
    expect(heights(own)).toBe(heights(plain) as number);
  },
);

test("dense and finished baselines are lines to compare with, unfinished ones are not", () => {
  const { description } = evaluationChart("perplexity", { evaluations, comparison: ROWS });
  expect(description).toContain("dense 890.61, lowrank 969.20, monarch 1201.44, gblr, SVD 921.77");
  expect(description).not.toContain("4120");
});

test("a line of another split than the curve's says of which", () => {
  const shown = (comparisonSplit?: string) =>
    evaluationChart("perplexity", { evaluations, comparison: ROWS, comparisonSplit }).description;
  expect(shown("test")).toContain("dense: test 890.61");
  expect(shown("validation")).toContain("dense 890.61");
});

test("long names in a legend are written out, one below the other", async () => {
  const names = ["low rank, activation-aware, global", "GBLR, activation-aware, global"];
  const comparison = names.map((name) => row(name, "after", 900));
  const svg = await chartSvg(evaluationChart("perplexity", { evaluations, comparison, comparisonSplit: "test" }));
  const entries = [...svg.matchAll(/<text[^>]*transform="translate\((\d+),[^>]*>([^<]*: test)<\/text>/g)];
  expect(entries.map(([, , text]) => text)).toEqual(names.map((name) => `${name}: test`));
  expect(new Set(entries.map(([, x]) => x)).size).toBe(1);
});

test("the widths over time end where training has come to", () => {
  const values = JSON.stringify(widthHistoryChart(structures).spec);
  const steps = structures.map(({ step }) => step);
  const edges = [...values.matchAll(/"(?:from|to)":([\d.]+)/g)].map(([, edge]) => Number(edge));
  expect([Math.min(...edges), Math.max(...edges)]).toEqual([steps[0] as number, steps.at(-1) as number]);
});

test("perplexity and accuracy are shown before anything else that was measured", () => {
  expect(shownMetrics(evaluations)).toEqual(["perplexity"]);
  const loss = { ...(evaluations[0] as (typeof evaluations)[number]), values: { loss: 1, other: 2, third: 3 } };
  expect(shownMetrics([loss])).toEqual(["loss", "other"]);
  expect(shownMetrics([])).toEqual([]);
});

test("nothing known of costs is no chart", () => {
  const plain = steps.map(({ relativeCost: _, meanWidth: __, ...step }) => step);
  expect(costChart(plain, [])).toBeUndefined();
  expect(
    stepCharts(
      plain.map(({ sigma: _, ...step }) => step),
      { unit: "images" },
    ).map(({ title }) => title),
  ).toEqual(["Learning rate", "Gradient norm", "Speed"]);
});

test("the mistakes made most often come first", () => {
  expect(
    commonMistakes(
      ["a", "b"],
      [
        [5, 1],
        [3, 1],
      ],
    ),
  ).toEqual([
    { actual: "b", taken: "a", count: 3, share: 0.75 },
    { actual: "a", taken: "b", count: 1, share: 1 / 6 },
  ]);
});

test("a chart is written as SVG, as PNG with text in it, and as a specification with its data", async () => {
  const files = await chartToFiles(lossChart(steps), at("loss"));
  expect(files).toEqual([at("loss.svg"), at("loss.png"), at("loss.json")]);
  expect(files.every((file) => existsSync(file))).toBe(true);
  const svg = readFileSync(at("loss.svg"), "utf8");
  const [, width, height] = svg.match(/width="(\d+)" height="(\d+)"/) as RegExpMatchArray;
  const png = decodePng(readFileSync(at("loss.png")));
  expect([png.width, png.height]).toEqual([2 * Number(width), 2 * Number(height)]);
  expect(png.at(1, 1)).toEqual([255, 255, 255]);
  const title = Array.from({ length: 80 * 36 }, (_, i) => png.at(10 + (i % 80), 10 + Math.floor(i / 80)));
  expect(title.some(([red]) => red < 60)).toBe(true);
  const { layer, $schema } = JSON.parse(readFileSync(at("loss.json"), "utf8"));
  expect($schema).toContain("vega-lite");
  expect(layer[0].data.values).toHaveLength(steps.length);
});
