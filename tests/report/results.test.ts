// results.json: its published schema, which Python's jsonschema applies too, what is refused, how it follows the run, and
// how the results of several runs are put together.

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { startRun, updateRun, writeComparison } from "../../workbench/report/index.ts";
import {
  mergedResults,
  type Results,
  recordsOf,
  resultsJsonSchema,
  resultsSchema,
} from "../../workbench/report/results.ts";
import { readResults, writeResultsFile } from "../../workbench/report/results-file.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonWith, runPython } from "../python/python.ts";
import { facts, ROWS, row } from "./example-run.ts";

const at = temporaryFolder();
const SCHEMA = path.join(import.meta.dir, "../../docs/schema/results.schema.json");
const python = pythonWith("jsonschema");

/** A run with every field that a row can have. */
async function exampleRun(folder: string, { seed = 1111, perplexity = 902.06 } = {}): Promise<Results> {
  await startRun(folder, { ...facts({ seed }), seed, comparisonSplit: "test" });
  const full = {
    ...row("gblr", "after", perplexity),
    method: { init: "search", allocation: "global", reorder: true, damping: 0.01 },
    budget: { budget: 0.4375 },
    seeds: { seed },
    calibration: { dataset: "a/b", samples: 64, sha256: "0".repeat(64) },
    multiplyAdds: { reference: 5, actual: 6 },
    linear: { parameters: 44, dense: 100 },
    layerErrors: { weights: 0.5, outputs: 0.25 },
    stageSeconds: { convert: 1.5, train: 2 },
    speed: { tokensPerSecond: 1234.5 },
    peakMemory: 1e9,
    measured: { tokens: 1000, context: 50 },
    note: "a note",
  };
  await writeComparison(folder, [row("dense", "before", 890.61), full]);
  await updateRun(folder, { status: "finished" });
  return (await readResults(folder)).results;
}

test("the published JSON schema is the one that is generated", () => {
  // npx gblr compare --schema > docs/schema/results.schema.json && npm run format
  expect(JSON.parse(readFileSync(SCHEMA, "utf8"))).toEqual(JSON.parse(JSON.stringify(resultsJsonSchema())));
});

test.skipIf(!python)(
  "jsonschema accepts by the published schema what is written, and refuses what is refused here",
  async () => {
    const good = await exampleRun(at("validated"));
    const changed = (
      change: (results: Record<string, never> & { rows: Record<string, unknown>[] }) => void,
    ): unknown => {
      const copy = structuredClone(good) as never;
      change(copy);
      return copy;
    };
    const cases = [
      good,
      changed((copy) => void delete copy.dataset),
      changed((copy) => Object.assign(copy, { later: "a field of a later version" })),
      changed((copy) => Object.assign(copy.rows[0] as object, { settings: { seed: 3 }, model: { name: "b" } })),
      changed((copy) => void delete copy.rows[1]?.metrics),
      changed((copy) => Object.assign(copy, { format: 2 })),
      changed((copy) => Object.assign(copy, { started: "yesterday" })),
      changed((copy) => Object.assign(copy, { status: "half" })),
      changed((copy) => Object.assign(copy, { rows: {} })),
      changed((copy) => Object.assign(copy.rows[1] as object, { metrics: { perplexity: "12" } })),
      changed((copy) => Object.assign(copy.rows[1] as object, { stage: "during" })),
      changed((copy) => Object.assign(copy.rows[1] as object, { method: { init: 3 } })),
      changed((copy) => Object.assign(copy.rows[1] as object, { linear: { parameters: 1 } })),
    ];
    const script = `
import json, sys
import jsonschema
schema, cases = json.load(open(sys.argv[1])), json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
print(json.dumps([validator.is_valid(case) for case in cases]))
`;
    const { status, stdout, stderr } = await runPython(python as string, script, {
      args: [SCHEMA],
      input: JSON.stringify(cases),
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const ours = cases.map((each) => resultsSchema.safeParse(each).success);
    expect(ours).toEqual([true, true, true, true, ...Array(cases.length - 4).fill(false)]);
    expect(JSON.parse(stdout)).toEqual(ours);
  },
);

test("results follow the run: none before the first row, then its rows and its state", async () => {
  const folder = at("following");
  await startRun(folder, { ...facts({ run: "runs/a", push: "me/a" }), comparisonSplit: "test" });
  expect(readdirSync(folder)).toEqual(["run.json"]);
  await writeComparison(folder, ROWS.slice(0, 1));
  const first = (await readResults(folder)).results;
  expect(first).toMatchObject({ format: 1, status: "running", split: "test", seed: 1111, rows: ROWS.slice(0, 1) });
  expect(first.machine?.cores).toBeGreaterThan(0);
  // Where a run lies is no part of its results.
  expect(Object.keys(first.settings)).toEqual(Object.keys(facts().settings));
  await writeComparison(folder, ROWS);
  await updateRun(folder, { status: "failed", error: "no space left" });
  expect((await readResults(folder)).results).toMatchObject({ status: "failed", error: "no space left", rows: ROWS });
  expect(readdirSync(folder).sort()).toEqual(["comparison.json", "results.json", "run.json"]);
});

test("the results of a run folder of an earlier version are derived from its other files", async () => {
  const results = await exampleRun(at("older"));
  rmSync(at("older", "results.json"));
  expect((await readResults(at("older"))).results).toEqual(results);
});

test("a file that is cut off anywhere is refused", async () => {
  await exampleRun(at("cut"));
  const text = readFileSync(at("cut", "results.json"), "utf8").trimEnd();
  const file = at("cut.json");
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 1), async (length) => {
      writeFileSync(file, text.slice(0, length));
      await expect(readResults(file)).rejects.toThrow(/cut\.json: cannot be read as results: it is not whole JSON/);
    }),
    { numRuns: 50 },
  );
});

test("a file that has no results, or is of a newer version, is refused in one line", async () => {
  const results = await exampleRun(at("newer"));
  const write = (name: string, content: unknown) => {
    writeFileSync(at(name), JSON.stringify(content));
    return readResults(at(name));
  };
  // The message is about the version, whatever else differs in the file.
  await expect(write("2.json", { ...results, format: 2, rows: "none" })).rejects.toThrow(
    /2\.json: cannot be read as results: format: must be 1, is 2; a newer version of gblr wrote it: update gblr$/,
  );
  await expect(write("array.json", [1])).rejects.toThrow(/array\.json: [^\n]*not an object with rows[^\n]*$/);
  await expect(write("other.json", { ...results, rows: [{}] })).rejects.toThrow(/other\.json: [^\n]*rows\.0\.name: /);
  await expect(readResults(at("nothing"))).rejects.toThrow(/nothing: there is no such file or folder/);
  mkdirSync(at("empty"));
  await expect(readResults(at("empty"))).rejects.toThrow(/empty: has no results\.json and is not the folder of a run/);
});

test("a number that is not finite is not written, and the earlier file stays", async () => {
  const results = await exampleRun(at("none"));
  const file = at("none", "results.json");
  const bad = { ...results, rows: [{ ...row("gblr", "after", 3), metrics: { perplexity: Number.NaN } }] };
  await expect(writeResultsFile(file, bad)).rejects.toThrow(/is not written: rows\.0\.metrics\.perplexity: /);
  expect((await readResults(file)).results).toEqual(results);
});

test("results of several runs have what they share once, and the base model once", async () => {
  const [one, two] = [
    await exampleRun(at("one"), { seed: 1, perplexity: 10 }),
    await exampleRun(at("two"), { seed: 2, perplexity: 12 }),
  ];
  const names = { name: "both", recipe: "sweep", command: "gblr sweep" };
  const other = { ...two, engine: "wasm", status: "interrupted" as const };
  const merged = mergedResults([one, other], names);
  expect(resultsSchema.safeParse(merged).error).toBeUndefined();
  expect(merged).toMatchObject({ ...names, status: "interrupted", model: one.model });
  expect(merged.settings).not.toHaveProperty("seed");
  expect(merged.settings).toMatchObject({ structure: "gblr", epochs: 10 });
  const told = recordsOf(merged).map(({ name, engine, settings }) => [name, engine, settings.seed, settings.epochs]);
  // The base model of the other engine is another measurement.
  expect(told).toEqual([
    ["dense", "torch", 1, 10],
    ["gblr", "torch", 1, 10],
    ["dense", "wasm", 2, 10],
    ["gblr", "wasm", 2, 10],
  ]);
  expect(mergedResults([one, two], names).rows.map(({ name }) => name)).toEqual(["dense", "gblr", "gblr"]);
});
