// A table of many methods on a small Llama, as recipes/smollm2-table.ts makes one of SmolLM2: each row has settings of its
// own, and an interrupted run goes on with the layer that it had begun and repeats no row.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { addCompare } from "../../workbench/cli/compare.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { experiment } from "../../workbench/pipeline/experiment.ts";
import type { PipelineEvent } from "../../workbench/pipeline/stage.ts";
import { compareResults } from "../../workbench/report/compare/compare.ts";
import { compareLayers } from "../../workbench/report/compare/layers.ts";
import type { ComparisonRow, ConvertedLayer } from "../../workbench/report/index.ts";
import { runVerb } from "../cli/in-process.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timeless } from "./timeless.ts";
import { offlineContext } from "./tiny-hub.ts";
import { makeTinyLlama } from "./tiny-llama.ts";

setDefaultTimeout(240_000);

const at = temporaryFolder();
let engine: Engine;
let sources: { model: string; dataset: string };

const PLAIN = "+sequential=false+reorder=none";
const COMPARE = [
  `lowrank@0.6${PLAIN}`,
  `lowrank:activation@0.6${PLAIN}`,
  "lowrank:activation:loss@0.6+reorder=none",
  "lowrank:activation:loss@0.6+reorder=none+calibration-seed=1",
  "monarch:activation@0.6",
  `gblr:search@0.6+sequential=false`,
];
const TRAINED = ["lowrank:activation:loss@0.6+reorder=none"];
const KEYS = [
  "lowrank-0.6-no-sequential-reorder-none",
  "lowrank-activation-0.6-no-sequential-reorder-none",
  "lowrank-activation-loss-0.6-reorder-none",
  "lowrank-activation-loss-0.6-reorder-none-calibration-seed-1",
  "monarch-activation-0.6",
  "gblr-search-0.6-no-sequential",
];

/** Runs the experiment. @param stop aborts the run at the first event for which it is true */
async function run(folder: string, stop?: (event: PipelineEvent) => boolean, given: Partial<LanguageSettings> = {}) {
  const quick = { context: 32, limit: 3, batch: 2, microBatch: 2, calibrationSamples: 8, calibrationContext: 16 };
  const method = { structure: "gblr", init: "search", allocate: "loss", sequential: true, budget: 0.8 } as const;
  const order: Partial<LanguageSettings> = { reorder: "energy", reorderUnits: ["hidden"] };
  const recovery = { steps: 3, warmupSteps: 1, lora: 2, learningRate: 1e-3, shrink: "none" } as const;
  const how = { compare: COMPARE, fineTune: TRAINED, keepModels: false };
  const all = { ...sources, ...quick, ...method, ...order, ...recovery, ...how, ...given };
  const settings = languageSettings.parse(all);
  const abort = new AbortController();
  const context = offlineContext(engine, { cache: at("cache"), signal: abort.signal });
  const events: PipelineEvent[] = [];
  for await (const event of experiment(languageDomain, settings, { context, folder })) {
    events.push(event);
    if (stop?.(event)) abort.abort();
  }
  return events;
}

const rowsIn = (folder: string) => JSON.parse(readFileSync(join(folder, "comparison.json"), "utf8")) as ComparisonRow[];

const made = (events: readonly PipelineEvent[]) =>
  events.flatMap((event) => (event.kind === "row" ? [`${event.row.variant ?? "base"} ${event.row.stage}`] : []));

const layers = (events: readonly PipelineEvent[], kind: "restored" | "layer") =>
  events.flatMap((event) =>
    event.kind === "inner" && event.of === "convert" && event.event.kind === kind ? [event.event] : [],
  ).length;

let whole: readonly ComparisonRow[];
beforeAll(async () => {
  engine = await openEngine({ engine: "wasm" });
  sources = await makeTinyLlama(at("hub"));
  const events = await run(at("whole"));
  expect(events.at(-1)?.kind).toBe("finished");
  whole = rowsIn(at("whole"));
});

test("each row has its own settings, and its calibration windows have their own length", () => {
  expect(whole.map(({ variant, stage }) => `${variant ?? "base"} ${stage}`)).toEqual([
    "base before",
    ...KEYS.slice(0, 3).map((key) => `${key} before`),
    `${KEYS[2]} after`,
    ...KEYS.slice(3).map((key) => `${key} before`),
    "gblr-search-loss before",
  ]);
  const [, svd, whitened, byLoss, trained, otherSeed, monarch, uniform, main] = whole as ComparisonRow[];
  expect(svd?.method).toMatchObject({ sequential: false, reorder: "none" });
  expect(main?.method).toMatchObject({ sequential: true, reorder: "energy", allocation: "loss" });
  expect(uniform?.method).toMatchObject({ sequential: false, reorder: "energy", allocation: "uniform" });
  expect(svd?.name).toBe("low rank, budget 60 %");
  expect(main?.name).toBe("GBLR, block search, by loss, budget 80 %, sequential, reorder energy");
  // Whether layers see other inputs changes the result, but not the windows.
  expect(byLoss?.calibration).toEqual(whitened?.calibration as NonNullable<ComparisonRow["calibration"]>);
  expect(whitened?.calibration?.samples).toBe(8);
  expect(whole[0]?.measured).toMatchObject({ windows: 3, context: 32 });
  expect(otherSeed?.calibration?.sha256).not.toBe(byLoss?.calibration?.sha256 as string);
  expect(otherSeed?.name).toBe(byLoss?.name as string);
  expect(trained?.metrics.perplexity).not.toBe(byLoss?.metrics.perplexity as number);
  expect(monarch?.budget).toEqual({ budget: 0.6 });
  for (const { linear, budget } of whole.slice(1)) {
    expect((linear?.parameters as number) / (linear?.dense as number)).toBeLessThanOrEqual(budget?.budget as number);
  }
});

test("a reordered variant takes what gradients say from one that was not reordered, with the same result", async () => {
  const compare = COMPARE.slice(2, 3);
  const events = await run(at("few"), undefined, { compare, fineTune: ["none"] });
  const passes: Record<string, Set<string>> = {};
  let current = "";
  for (const event of events) {
    if (event.kind === "stage") current = event.of ?? "";
    if (event.kind !== "inner" || !["calibrate", "gradients"].includes(event.of)) continue;
    passes[event.of] = (passes[event.of] ?? new Set()).add(current);
  }
  const [, first, second] = rowsIn(at("few")) as ComparisonRow[];
  expect(passes.gradients).toEqual(new Set([first?.name as string]));
  // Covariances for the energies; mean squares of inputs for the order.
  expect(passes.calibrate).toEqual(new Set([first?.name as string, second?.name as string]));
  // There, a variant with other windows ran before, so that gradients were computed for the reordered model.
  expect(second?.metrics.nll).toBeCloseTo(whole.at(-1)?.metrics.nll as number, 4);
});

test("models of rows that were measured are deleted, except that of the main variant", () => {
  for (const key of KEYS) expect(readdirSync(at("whole", "compare", key))).not.toContain("converted");
  for (const key of KEYS) expect(readdirSync(at("whole", "compare", key))).not.toContain("model");
  expect(existsSync(at("whole", "converted", "config.json"))).toBe(true);
});

test("a finished run repeats nothing, though the models of its rows are gone", async () => {
  const events = await run(at("whole"));
  expect(made(events)).toEqual([]);
  const work = events.flatMap((event) => (event.kind === "inner" ? [event.of] : []));
  expect(new Set(work)).toEqual(new Set(["tokenize", "windows"]));
  expect(rowsIn(at("whole"))).toEqual([...whole]);
});

test("a run that is stopped at any row goes on with the layer that it had begun, and has the same rows", async () => {
  const folder = at("stopped");
  const done: string[] = [];
  // Each time, so many layers of the variant that follows this row are finished. Four of the first twelve of the last
  // variant stay dense; such layers are not kept.
  const stops: [row: string, finished: number][] = [
    [KEYS[0] as string, 3],
    [KEYS[3] as string, 3],
    [KEYS[5] as string, 12],
  ];
  for (const [row, finished] of stops) {
    let replaced = 0;
    const events = await run(folder, (event) => {
      if (event.kind === "row") replaced = 0;
      if (event.kind !== "inner" || event.of !== "convert" || event.event.kind !== "replaced") return false;
      replaced++;
      return rowsIn(folder).at(-1)?.variant === row && replaced === finished;
    });
    expect(events.at(-1)?.kind).toBe("interrupted");
    done.push(...made(events));
  }
  const events = await run(folder);
  done.push(...made(events));
  expect(events.at(-1)?.kind).toBe("finished");
  // What the stopped process had finished of the last variant was not done again.
  expect(layers(events, "restored")).toBe(8);
  expect(layers(events, "layer")).toBe(6);
  expect(done).toEqual(whole.map(({ variant, stage }) => `${variant ?? "base"} ${stage}`));
  expect(timeless(rowsIn(folder))).toEqual(timeless(whole));
});

test("variants that were added later have rows of the same names, and no row is made again", async () => {
  const folder = at("whole");
  const events = await run(folder, undefined, { compare: [...COMPARE, "btt:activation@0.6"] });
  expect(made(events)).toEqual(["btt-activation-0.6 before"]);
});

test("calibration seeds are one row of a table, with their deviation", async () => {
  const { groups } = await compareResults([at("whole")], { stage: "before" });
  const repeated = groups.filter(({ rows }) => rows.length > 1);
  expect(repeated.map(({ first, rows }) => [first.variant, rows.length])).toEqual([[KEYS[2], 2]]);
  const [one, other] = [whole[3], whole[5]].map((row) => row?.metrics.perplexity as number) as [number, number];
  expect(repeated[0]?.values.perplexity).toBeCloseTo((one + other) / 2, 9);
});

test("layers are compared by kind with those of another variant, by the ratio of their output errors", async () => {
  const [reference, folder] = [KEYS[1], KEYS[5]].map((key) => at("whole", "compare", key as string)) as [
    string,
    string,
  ];
  const [compared] = await compareLayers([{ reference, folder }]);
  const read = (of: string) =>
    new Map(
      (JSON.parse(readFileSync(join(of, "conversion.json"), "utf8")) as ConvertedLayer[]).map((layer) => [
        layer.layer,
        layer.outputError as number,
      ]),
    );
  const [before, after] = [read(reference), read(folder)];
  expect(compared?.layers.length).toBe(14);
  for (const { layer, kind, reference: one, error } of compared?.layers ?? []) {
    expect([one, error]).toEqual([before.get(layer) as number, after.get(layer) as number]);
    expect(layer.endsWith(`.${kind}`)).toBe(true);
    // The search is never worse than whitened low rank at the same cost.
    expect(error).toBeLessThanOrEqual(one * (1 + 1e-4));
  }
  const kinds = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
  const { code, stdout } = await runVerb(addCompare, ["compare", reference, folder, "--layers", "--markdown"]);
  expect(code).toBe(0);
  const lines = stdout.trim().split("\n").slice(2);
  expect(lines.map((line) => line.split("|")[1]?.trim())).toEqual([...kinds, "all"]);
  const ratios = [...after].map(([layer, error]) => error / (before.get(layer) as number));
  const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
  expect(Number(lines.at(-1)?.split("|")[6])).toBeCloseTo(mean, 2);
  const plotted = await runVerb(addCompare, ["compare", reference, folder, "--layers", "--plot", at("layers.svg")]);
  expect(plotted.stdout).toContain("layers.png");
  expect(readFileSync(at("layers.svg"), "utf8")).toContain("gate_proj");
});

test("layers with inputs of their own are not compared", async () => {
  const [reference, folder] = [KEYS[1], KEYS[2]].map((key) => at("whole", "compare", key as string)) as [
    string,
    string,
  ];
  const { code, stderr } = await runVerb(addCompare, ["compare", reference, folder, "--layers"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^gblr: [^\n]*was calibrated sequentially[^\n]*\n$/);
});

test("the page of a run has a table for each budget, the recovery, errors by layer and pictures", async () => {
  const script = join(import.meta.dir, "../../bench/compression.ts");
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, script, at("whole"), "--out", at("page")]);
  expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
  const page = readFileSync(at("page.md"), "utf8");
  expect(page.match(/^## .*/gm)).toEqual([
    "## 20 % fewer parameters",
    "## 40 % fewer parameters",
    "## Recovery",
    "## The best of each structure",
    "## Output errors by layer",
  ]);
  const main = whole.at(-1) as ComparisonRow;
  expect(page).toContain(`| GBLR, block search, by loss, sequential, reorder energy |`);
  expect(page).toContain((main.metrics.perplexity as number).toFixed(2));
  for (const name of ["page.png", "page-layers.png"]) {
    expect(page).toContain(`](${name})`);
    expect(existsSync(at(name))).toBe(true);
  }
});

test("a run that goes on with other rows names those that it has as it names the new ones", async () => {
  const byLoss = "lowrank:activation:loss@0.6+reorder=none";
  const nameOf = () => rowsIn(at("titles")).find(({ variant }) => variant === KEYS[2])?.name;
  await run(at("titles"), undefined, { compare: [byLoss], fineTune: ["none"] });
  expect(nameOf()).toBe("low rank, activation-aware, by loss, budget 60 %");
  const before = rowsIn(at("titles"));
  await run(at("titles"), undefined, { compare: [byLoss, `lowrank@0.6${PLAIN}`], fineTune: ["none"] });
  expect(nameOf()).toBe("low rank, activation-aware, by loss, budget 60 %, sequential");
  const [row, same] = [before, rowsIn(at("titles"))].map((rows) => rows.find(({ variant }) => variant === KEYS[2]));
  expect({ ...same, name: row?.name } as typeof row).toEqual(row);
});
