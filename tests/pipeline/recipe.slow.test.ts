// A whole experiment as a process: from a Hub in a folder to rows, model folder, card, report, and back to the Hub. What it
// leaves is looked at file by file; going on, going on otherwise, and beginning again are told apart.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openModel } from "../../hub/model-folder/index.ts";
import { pythonFiles } from "../../hub/python/index.ts";
import { planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { modelCounts } from "../../workbench/models/counts.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import type { ComparisonRow } from "../../workbench/report/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, makeTinyHub, QUICK, type Ran, RECIPE, run } from "./tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
let place: { hub: string; work: string };

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  place = { hub: await makeTinyHub(folder("hub")), work: folder("work") };
  mkdirSync(place.work);
}, PATIENCE);

const recipe = (...args: string[]) => run(RECIPE, [...QUICK, ...args], place);
const at = (...names: string[]) => join(place.work, ...names);

interface Told {
  folder: string;
  model: string;
  pushed?: string;
  rows: ComparisonRow[];
}

function told({ code, stdout, stderr }: Ran): Told {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

const find = (rows: readonly ComparisonRow[], name: string, stage: string) => {
  const row = rows.find((row) => row.name === name && row.stage === stage);
  if (!row) throw new Error(`no row ${name}, ${stage}: there is ${rows.map((row) => `${row.name} ${row.stage}`)}`);
  return row;
};

describe("a whole experiment", () => {
  const ARGS = [
    "--budget",
    "0.5",
    "--shrink",
    "budget",
    "--compare",
    "lowrank,gblr:activation:global",
    "--run",
    "runs/a",
  ];
  let first: Told;

  beforeAll(async () => {
    first = told(await recipe(...ARGS, "--push", "me/gpt2-gblr", "--json"));
  }, PATIENCE);

  test("has a row for the model as it is, and one before and after for each way to compress", () => {
    const names = ["low rank", "GBLR, activation-aware, global", "GBLR, SVD"];
    const expected = [
      ["dense", "before"],
      ...names.flatMap((name) => [
        [name, "before"],
        [name, "after"],
      ]),
    ];
    expect(first.rows.map(({ name, stage }) => [name, stage] as string[])).toEqual(expected);
    for (const { name } of first.rows.slice(1)) {
      const [before, after] = (["before", "after"] as const).map((stage) => find(first.rows, name, stage));
      // Six steps from nothing: everything learns.
      expect(after?.metrics.perplexity as number).toBeLessThan(before?.metrics.perplexity as number);
      expect(after?.seconds as number).toBeGreaterThan(before?.seconds as number);
    }
  });

  test("costs after training what was asked, to the last multiply-add that fits", async () => {
    for (const own of ["runs/a", "runs/a/compare/gblr-activation-global"]) {
      const model = await loadModelNow(at(own, "model"), { form: "trainable" });
      const dense = await loadModelNow(join(place.hub, "models/tiny/gpt2"));
      const { layers } = await planConversion(dense, { structure: "gblr", budget: 0.5 });
      let [cost, allowed] = [0, 0];
      for (const { name, nIn, nOut } of layers) {
        cost += await model.layer(name).structure.cost(model.structureParameters(name));
        allowed += nIn * nOut;
      }
      expect(cost / allowed).toBeLessThanOrEqual(0.5);
      expect(cost / allowed).toBeGreaterThan(0.495);
      const counts = await modelCounts(model);
      const name = own === "runs/a" ? "GBLR, SVD" : "GBLR, activation-aware, global";
      const { relativeFlops } = find(first.rows, name, "after");
      expect(relativeFlops).toEqual({ reference: counts.reference.relative, actual: counts.actual.relative });
      model.dispose();
      dense.dispose();
    }
  });

  test("leaves a model folder with all that a repository has", async () => {
    const names = readdirSync(at("runs/a/model")).sort();
    expect(names).toEqual(
      [
        ...["README.md", "config.json", "model.safetensors", "structure.png", "trainable.safetensors", "training.json"],
        ...["tokenizer.json", "tokenizer_config.json", ...(await pythonFiles()).map(({ name }) => name)],
      ].sort(),
    );
    const config = JSON.parse(readFileSync(at("runs/a/model/config.json"), "utf8"));
    expect(config).toMatchObject({
      model_type: "gpt2",
      gblr: { structure: "gblr", base_model: "tiny/gpt2", budget: 0.5 },
    });
    const { tensors } = await openModel(at("runs/a/model"));
    const stored = [...tensors.tensors.keys()];
    await tensors.close();
    expect(stored.filter((name) => name.endsWith(".spans")).length).toBe(6);
    expect(stored.filter((name) => name.endsWith(".widths"))).toEqual([]);
    const row = find(first.rows, "GBLR, SVD", "after");
    expect(row.fileBytes).toBe(statSync(at("runs/a/model/model.safetensors")).size);
    const png = readFileSync(at("runs/a/model/structure.png"));
    expect([...png.subarray(1, 4)]).toEqual([..."PNG"].map((letter) => letter.charCodeAt(0)));
  });

  test("says on the card what was measured, how, and on what, without a placeholder", () => {
    const card = readFileSync(at("runs/a/model/README.md"), "utf8");
    expect(card).toStartWith("---\nlicense: cc0-1.0\n");
    expect(card).toContain("base_model: tiny/gpt2\ndatasets:\n  - tiny/stories\n");
    expect(card).toContain("# gpt2-gblr\n");
    const { perplexity } = find(first.rows, "GBLR, SVD", "after").metrics;
    expect(card).toContain(`value: ${perplexity}`);
    expect(card).toContain(`bun run recipes/gpt2-wt103.ts --model tiny/gpt2 --dataset tiny/stories`);
    expect(card).not.toMatch(/more information needed|todo|tbd|undefined|\bNaN\b|\[object|\{\{/i);
    expect(card).not.toContain(place.work);
    expect(card).not.toContain(place.hub);
    const training = JSON.parse(readFileSync(at("runs/a/model/training.json"), "utf8"));
    expect(training).toMatchObject({
      recipe: "gpt2-wt103",
      model: { name: "tiny/gpt2", revision: expect.stringMatching(/^[0-9a-f]{40}$/) },
      dataset: { name: "tiny/stories", revision: expect.stringMatching(/^[0-9a-f]{40}$/) },
      seed: 1111,
      engine: { name: "wasm", device: "cpu", precision: "float32" },
      settings: { budget: 0.5, shrink: "budget", steps: 6, context: 32 },
      results: first.rows,
    });
  });

  test("has a report for each way, which says that it is finished", () => {
    for (const own of ["runs/a", "runs/a/compare/lowrank", "runs/a/compare/gblr-activation-global"]) {
      expect(readFileSync(at(own, "report.html"), "utf8")).toMatch(/^<!doctype html>/i);
      expect(JSON.parse(readFileSync(at(own, "run.json"), "utf8")).status).toBe("finished");
    }
  });

  test(
    "is on the Hub, from where another cache has the same model to the last bit",
    async () => {
      const elsewhere = { hub: place.hub, work: folder("elsewhere") };
      mkdirSync(elsewhere.work);
      const flags = ["--dataset", "tiny/stories", "--limit", "8", "--engine", "wasm", "--json"];
      const result = JSON.parse((await run(GBLR, ["eval", "ppl", "me/gpt2-gblr", ...flags], elsewhere)).stdout);
      const row = find(first.rows, "GBLR, SVD", "after");
      expect({ perplexity: result.perplexity, nll: result.nll }).toEqual(row.metrics as never);
      expect(result.relativeFlops).toEqual(row.relativeFlops);
      const again = await run(GBLR, ["eval", "ppl", at("runs/a/model"), ...flags], elsewhere);
      expect(JSON.parse(again.stdout).nll).toBe(result.nll);
    },
    PATIENCE,
  );

  test(
    "is not done again when it is done",
    async () => {
      const before = readFileSync(at("runs/a/metrics.jsonl"), "utf8");
      const again = told(await recipe(...ARGS, "--json"));
      expect(again.rows).toEqual(first.rows);
      expect(readFileSync(at("runs/a/metrics.jsonl"), "utf8")).toBe(before);
      const spoken = await recipe(...ARGS);
      expect(spoken.stdout).toContain("already done");
      expect(spoken.stdout).toMatch(/ {2}test: \d+ whole windows of 32 tokens; \d+ tokens at the end left out\n/);
      expect(spoken.stdout).not.toMatch(/fine-tune [^d]|convert/);
    },
    PATIENCE,
  );

  test(
    "is not gone on with by other settings, which are named",
    async () => {
      const before = readFileSync(at("runs/a/run.json"), "utf8");
      const other = await recipe(...ARGS, "--seed", "7", "--learning-rate", "2e-3");
      expect({ code: other.code, stdout: other.stdout }).toEqual({ code: 2, stdout: "" });
      expect(other.stderr).toBe(
        "gpt2-wt103: runs/a was started with other settings: learningRate 0.001 → 0.002, seed 1111 → 7; pass --fresh to start over, or give another --run\n",
      );
      expect(readFileSync(at("runs/a/run.json"), "utf8")).toBe(before);
    },
    PATIENCE,
  );
});

describe("a run", () => {
  test(
    "begun afresh forgets the settings and the rows of the one before",
    async () => {
      const args = ["--structure", "lowrank", "--run", "runs/fresh", "--steps", "2", "--json"];
      const one = told(await recipe(...args, "--budget", "0.6"));
      const two = told(await recipe(...args, "--budget", "0.4", "--fresh"));
      expect(two.rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual([
        "dense before",
        "low rank before",
        "low rank after",
      ]);
      const flops = ({ rows }: Told) => find(rows, "low rank", "after").relativeFlops?.actual as number;
      expect(flops(two)).toBeLessThan(flops(one));
    },
    PATIENCE,
  );

  test(
    "of a dense model trains it as it is",
    async () => {
      const { rows } = told(await recipe("--structure", "dense", "--run", "runs/dense", "--json"));
      expect(rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual(["dense before", "dense after"]);
      expect(find(rows, "dense", "after").relativeFlops).toEqual({ reference: 1, actual: 1 });
      expect(existsSync(at("runs/dense/converted"))).toBe(false);
      expect(existsSync(at("runs/dense/model/trainable.safetensors"))).toBe(false);
    },
    PATIENCE,
  );

  test.each([
    "soft --threshold 0.01",
    "targeted --threshold 0.01 --target 0.2 --approach 2 --freeze",
    "adaptive --threshold 0.01 --target 0.2 --start-threshold 0.02",
  ])(
    "trains with --shrink %s, reading widths every second step",
    async (rule) => {
      const flags = ["--shrink", ...rule.split(" ")];
      const run = `runs/${flags[1]}`;
      told(await recipe("--budget", "0.5", "--steps", "3", ...flags, "--shrink-every", "2", "--run", run, "--json"));
      const lines = readFileSync(at(`${run}/metrics.jsonl`), "utf8")
        .trim()
        .split("\n");
      const steps = lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === "step");
      expect(steps.map(({ relativeCost }) => relativeCost !== undefined)).toEqual([false, true, true]);
    },
    PATIENCE,
  );

  test(
    "that goes on from a compressed model trains its blocks on, down to a smaller cost",
    async () => {
      told(await recipe("--budget", "0.5", "--shrink", "none", "--steps", "1", "--run", "runs/half", "--json"));
      const flags = QUICK.slice(2).filter((word, i, all) => ![word, all[i - 1]].includes("--calibration-samples"));
      const args = ["finetune", "runs/half/model", ...flags, "--run", "runs/third", "--json"];
      const { rows } = told(await run(GBLR, [...args, "--shrink", "budget", "--target", "0.33"], place));
      expect(rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual(["GBLR before", "GBLR after"]);
      const dense = await loadModelNow(join(place.hub, "models/tiny/gpt2"));
      const third = await planConversion(dense, { structure: "gblr", budget: 0.33 });
      const asked = third.counts.after.actual.relative;
      const got = find(rows, "GBLR", "after").relativeFlops?.actual as number;
      expect(got).toBeLessThanOrEqual(asked + 1e-9);
      expect(got).toBeGreaterThan(asked - 0.01);
      const held = ["finetune", "runs/half/model", ...flags, "--run", "runs/held", "--shrink", "budget", "--json"];
      const same = told(await run(GBLR, held, place)).rows;
      const [before, after] = same.map(({ relativeFlops }) => relativeFlops?.actual as number);
      expect(after as number).toBeLessThanOrEqual(before as number);
      expect(after as number).toBeGreaterThan((before as number) - 0.01);
      dense.dispose();
    },
    PATIENCE,
  );

  test.each(["train", "test"])(
    "on a text shorter than a window says how long its windows may be, with %s to test on",
    async (testSplit) => {
      const words = readFileSync(join(place.hub, "datasets/tiny/stories/train.txt"), "utf8").split(/\s+/);
      mkdirSync(at("short"), { recursive: true });
      writeFileSync(at("short/train.txt"), words.slice(0, 6).join(" "));
      writeFileSync(at("short/test.txt"), words.slice(0, 60).join(" "));
      const splits = ["--dataset", "short", "--validation-split", "test", "--test-split", testSplit];
      const { code, stderr } = await recipe("--structure", "dense", ...splits, "--run", "runs/short");
      expect(code).toBe(2);
      expect(stderr).toMatch(
        /^gpt2-wt103: short: split train has no whole window of 32 tokens; give --context \d or less, or more text\n$/,
      );
    },
    PATIENCE,
  );

  test(
    "that starts larger than it ends is shrunk to what was asked",
    async () => {
      const args = [
        "--budget",
        "0.3",
        "--start-cost",
        "0.8",
        "--shrink",
        "budget",
        "--steps",
        "12",
        "--run",
        "runs/shrunk",
      ];
      const { rows } = told(await recipe(...args, "--json"));
      const [before, after] = ["before", "after"].map((stage) => find(rows, "GBLR, SVD", stage).relativeFlops?.actual);
      const dense = await loadModelNow(join(place.hub, "models/tiny/gpt2"));
      const costAt = async (budget: number) =>
        (await planConversion(dense, { structure: "gblr", budget })).counts.after.actual.relative;
      expect(Math.abs((before as number) - (await costAt(0.8)))).toBeLessThan(1e-9);
      expect(after as number).toBeLessThanOrEqual(await costAt(0.3));
      expect(after as number).toBeGreaterThan((await costAt(0.3)) - 0.01);
      dense.dispose();
    },
    PATIENCE,
  );
});
