// An experiment in this process, by its events and files: how often it loads models, what variants share and what they
// have for themselves, and what it writes.

import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { experiment } from "../../workbench/pipeline/experiment.ts";
import type { PipelineEvent } from "../../workbench/pipeline/stage.ts";
import { parseVariant } from "../../workbench/pipeline/variants.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timeless } from "./timeless.ts";
import { makeTinyHub, offlineContext, sourcesIn } from "./tiny-hub.ts";

setDefaultTimeout(120_000);

const at = temporaryFolder();
let engine: Engine;
let model: string;
let dataset: string;
beforeAll(async () => {
  engine = await openEngine({ engine: "wasm" });
  ({ model, dataset } = sourcesIn(await makeTinyHub(at("hub"))));
});

async function eventsOf(given: Partial<LanguageSettings>, folder: string): Promise<PipelineEvent[]> {
  const quick = { context: 32, steps: 2, batch: 4, microBatch: 2, warmupEpochs: 0.1, limit: 4, calibrationSamples: 4 };
  const settings = languageSettings.parse({ ...quick, model, dataset, budget: 0.5, ...given });
  const context = offlineContext(engine, { cache: at("cache") });
  const events: PipelineEvent[] = [];
  for await (const event of experiment(languageDomain, settings, { context, folder })) events.push(event);
  expect(events.at(-1)?.kind).toBe("finished");
  return events;
}

/** How often each model folder was read. */
function loadsIn(events: readonly PipelineEvent[]): Record<string, number> {
  const loads: Record<string, number> = {};
  for (const event of events) {
    if (event.kind !== "inner" || event.of !== "load" || event.event.kind !== "opened") continue;
    loads[event.folder] = (loads[event.folder] ?? 0) + 1;
  }
  return loads;
}

describe("an experiment loads", () => {
  test("its base model once, and each saved model once to measure it", async () => {
    const run = at("compared");
    const compare = ["lowrank", "lowrank:activation:global", "dense"];
    const events = await eventsOf({ compare, init: "activation", allocate: "global", shrink: "budget" }, run);
    const saved = [
      ...["lowrank", "lowrank-activation-global"].flatMap((key) =>
        ["converted", "model"].map((of) => join(run, "compare", key, of)),
      ),
      join(run, "compare/dense/model"),
      join(run, "converted"),
      join(run, "model"),
    ];
    expect(loadsIn(events)).toEqual(Object.fromEntries([model, ...saved].map((folder) => [folder, 1])));
  });

  test("its base model once where that is the teacher too", async () => {
    const run = at("distilled");
    const loads = loadsIn(await eventsOf({ distill: 0.5, structure: "lowrank" }, run));
    expect(loads).toEqual({ [model]: 1, [join(run, "converted")]: 1, [join(run, "model")]: 1 });
  });

  test("no base model where everything is done", async () => {
    const run = at("again");
    await eventsOf({ structure: "lowrank" }, run);
    expect(loadsIn(await eventsOf({ structure: "lowrank" }, run))).toEqual({});
  });
});

test("the base model is not changed by what variants do to their copies", async () => {
  const run = at("unchanged");
  const alone = at("alone");
  await eventsOf({ structure: "lowrank" }, alone);
  await eventsOf({ compare: ["monarch", "block-low-rank"], structure: "lowrank" }, run);
  const rowsOf = (folder: string) =>
    timeless(JSON.parse(readFileSync(join(folder, "comparison.json"), "utf8"))).filter(
      ({ name }) => name === "low rank",
    );
  expect(rowsOf(run)).toEqual(rowsOf(alone));
});

test("variants with budgets of their own get them, and the others that of the settings", async () => {
  const run = at("budgets");
  const compare = ["lowrank@0.25", "gblr:activation:global@0.6"];
  await eventsOf({ compare, structure: "lowrank", shrink: "budget" }, run);
  const costOf = (folder: string) => {
    const layers = JSON.parse(readFileSync(join(run, folder, "conversion.json"), "utf8")) as {
      costBefore: number;
      costAfter: number;
    }[];
    const sum = (name: "costBefore" | "costAfter") => layers.reduce((total, layer) => total + layer[name], 0);
    return sum("costAfter") / sum("costBefore");
  };
  const folders = { "compare/lowrank-0.25": 0.25, "compare/gblr-activation-global-0.6": 0.6, ".": 0.5 };
  for (const [folder, budget] of Object.entries(folders)) {
    expect(costOf(folder)).toBeLessThanOrEqual(budget);
    expect(costOf(folder)).toBeGreaterThan(budget - 0.05);
  }
  const names = (JSON.parse(readFileSync(join(run, "comparison.json"), "utf8")) as { name: string }[]).map(
    ({ name }) => name,
  );
  expect(names).toContain("low rank, budget 25 %");
  expect(names).toContain("low rank, budget 50 %");
  expect(names).not.toContain("low rank");
  expect(names).toContain("GBLR, activation-aware, global, budget 60 %");
});

describe("a variant is refused in one line", () => {
  const cases: [text: string, message: RegExp][] = [
    ["lowrank@2", /the budget of "lowrank@2" must be a number above 0 and at most 1/],
    ["lowrank@half", /the budget of "lowrank@half" must be a number/],
    ["dense@0.5", /"dense@0.5" converts nothing; leave out its budget/],
    ["lowrank:svd:global:0.5", /has too many parts; give structure\[:init\[:allocation\]\]\[@budget\]/],
  ];
  for (const [text, message] of cases) {
    test(`--compare ${text}`, () => expect(() => parseVariant(text)).toThrow(message));
  }
});

describe("a model that is made of one in a folder names as its base", () => {
  const cardOf = (run: string) => readFileSync(join(run, "model/README.md"), "utf8");
  const baseOf = (run: string) =>
    (JSON.parse(readFileSync(join(run, "model/config.json"), "utf8")).gblr as { base_model?: string }).base_model;
  const first = () => at("of-folder");

  test("the folder, which nothing links to", async () => {
    await eventsOf({ structure: "lowrank" }, first());
    expect(cardOf(first())).toContain("This is `gpt2`, with its linear layers replaced");
    expect(cardOf(first())).not.toContain("base_model");
    expect(baseOf(first())).toBeUndefined();
  });

  test("the base model of the folder's own config", async () => {
    const source = join(first(), "model");
    const config = JSON.parse(readFileSync(join(source, "config.json"), "utf8"));
    config.gblr.base_model = "owner/base";
    writeFileSync(join(source, "config.json"), JSON.stringify(config));
    const run = at("of-converted");
    await eventsOf({ model: source, structure: "dense" }, run);
    expect(cardOf(run)).toContain("base_model: owner/base");
    expect(cardOf(run)).toContain("[owner/base](https://huggingface.co/owner/base)");
    expect(cardOf(run)).toMatch(/as the paper's tables count them, [\d.]+ % of all of them/);
    expect(baseOf(run)).toBe("owner/base");
  });
});

test("an experiment with an order writes the orders of units beside its models, and low rank is as good in any order", async () => {
  const how = { structure: "lowrank", init: "activation" } as const;
  const [ordered, plain] = [at("ordered"), at("in its order")];
  const events = await eventsOf({ ...how, reorder: "seriation", reorderUnits: ["hidden", "stream"] }, ordered);
  await eventsOf(how, plain);
  const found = events.flatMap((event) =>
    event.kind === "inner" && event.of === "reorder" && event.event.kind === "reordered" ? [event.event] : [],
  );
  expect(found.length).toBe(1);
  const { units } = JSON.parse(readFileSync(join(ordered, "reorder.json"), "utf8"));
  expect(units).toEqual(found[0]?.units);
  for (const folder of ["converted", "model"]) {
    expect(JSON.parse(readFileSync(join(ordered, folder, "reorder.json"), "utf8")).units).toEqual(units);
    const { gblr } = JSON.parse(readFileSync(join(ordered, folder, "config.json"), "utf8"));
    expect(gblr).toMatchObject({ structure: "lowrank", reorder: "seriation" });
  }
  const perplexityOf = (folder: string): number => {
    const rows = JSON.parse(readFileSync(join(folder, "comparison.json"), "utf8")) as {
      stage: string;
      structure: string;
      metrics: { perplexity: number };
    }[];
    return rows.find((row) => row.structure === "lowrank" && row.stage === "before")?.metrics.perplexity as number;
  };
  expect(Math.abs(perplexityOf(ordered) / perplexityOf(plain) - 1)).toBeLessThan(1e-3);
});
