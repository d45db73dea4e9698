// `gblr convert --reorder` as a user runs it: the written model computes the same, the orders are in its folder, and
// what cannot be reordered is refused in one line.

import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Symmetry, symmetriesOf } from "../../workbench/architectures/symmetry.ts";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addExport } from "../../workbench/cli/export.ts";
import { permuteModel } from "../../workbench/compress/reorder/permute.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { distance, logitsOf } from "../compress/reorder/cases.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { type Ran, runOffline, runVerb } from "./in-process.ts";
import { writeTinySources } from "./tiny-sources.ts";

const at = temporaryFolder();
runOffline(at("cache"));

const gblr = (...args: string[]): Promise<Ran> =>
  runVerb(addConvert, ["convert", at("dense"), "--engine", "cpu", ...args]);
const CALIBRATE = ["--calibrate", at("text"), "--calibrate-samples", "8"];

interface Units {
  name: string;
  kind: string;
  order: number[];
}

const json = (...names: string[]) => JSON.parse(readFileSync(at(...names), "utf8"));

async function logitsIn(folder: string): Promise<Float32Array> {
  const model = await loadModelNow(folder);
  const logits = await logitsOf(model);
  model.dispose();
  return logits;
}

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  await writeTinySources(at, ["train"]);
});

test("--structure dense writes a reordered model with the same logits, and says what moved", async () => {
  const ran = await gblr("--structure", "dense", "--reorder", "seriation", "--out", at("moved"));
  expect(ran).toMatchObject({ code: 0, stderr: "" });
  expect(ran.stdout).toMatch(/moved: [\d.]+ kB, reordered by seriation\n/);
  expect(ran.stdout).toMatch(/\n {2}hidden units: 1\d\d of 128 moved, in 2 orders\n/);
  expect(ran.stdout).toMatch(/\n {2}residual stream: \d+ of 16 moved, in 1 order\n/);
  expect(distance(await logitsIn(at("moved")), await logitsIn(at("dense")))).toBeLessThan(2e-5);
  expect(json("moved", "config.json").gblr).toBeUndefined();
  expect(readFileSync(at("moved", "tokenizer.json"))).toEqual(readFileSync(at("dense", "tokenizer.json")));
});

test("reorder.json has the orders by which the model before becomes the written one", async () => {
  const model = await loadModelNow(at("dense"));
  const { format, order, units } = json("moved", "reorder.json") as { format: number; order: string; units: Units[] };
  expect({ format, order }).toEqual({ format: 1, order: "seriation" });
  const symmetries = symmetriesOf(model.architecture, model.config);
  permuteModel(
    model,
    units.map(({ name, kind, order }) => ({
      symmetry: symmetries.find((each) => each.name === name && each.kind === kind) as Symmetry,
      order,
    })),
  );
  const moved = await loadModelNow(at("moved"));
  for (const [name, variable] of moved.parameters) {
    expect(await model.parameter(name).data()).toEqual((await variable.data()) as Float32Array);
  }
  for (const each of [model, moved]) each.dispose();
});

test("a conversion of a reordered model keeps its orders, and a second order keeps the first", async () => {
  const args = ["--engine", "cpu", "--structure", "lowrank", "--budget", "0.5", "--out", at("low")];
  expect(await runVerb(addConvert, ["convert", at("moved"), ...args])).toMatchObject({ code: 0 });
  expect(json("low", "reorder.json")).toEqual(json("moved", "reorder.json"));
  const again = ["--engine", "cpu", "--structure", "dense", "--reorder", "energy", "--out", at("twice")];
  expect(await runVerb(addConvert, ["convert", at("moved"), ...again])).toMatchObject({ code: 0 });
  const { before, order } = json("twice", "reorder.json");
  expect({ before, order }).toEqual({ before: json("moved", "reorder.json"), order: "energy" });
  const out = ["--to", "dense", "--engine", "cpu", "--out", at("low dense")];
  expect(await runVerb(addExport, ["export", at("low"), ...out])).toMatchObject({ code: 0 });
  expect(json("low dense", "reorder.json")).toEqual(before);
});

test("covariances are those of the reordered model: low rank of outputs loses the same in any order", async () => {
  const how = ["--structure", "lowrank", "--budget", "0.4", "--init", "activation", ...CALIBRATE, "--json"];
  const errors = async (...args: string[]) => {
    const { code, stdout, stderr } = await gblr(...how, ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout).layers.map(({ outputError }: { outputError: number }) => outputError) as number[];
  };
  const plain = await errors("--out", at("plain"));
  for (const order of ["energy", "clusters", "search"]) {
    const reordered = await errors("--reorder", order, "--out", at(order));
    for (const [i, error] of reordered.entries()) expect(Math.abs(error / (plain[i] as number) - 1)).toBeLessThan(1e-3);
    expect(json(order, "config.json").gblr).toMatchObject({ structure: "lowrank", reorder: order });
  }
});

test("--reorder-units restricts what moves, and --json has the orders", async () => {
  const how = ["--structure", "gblr", "--budget", "0.5", "--reorder", "energy", "--reorder-units", "hidden", "heads"];
  const { code, stdout } = await gblr(...how, "--out", at("some"), "--json");
  expect(code).toBe(0);
  const { reordered } = JSON.parse(stdout) as { reordered: { order: string; units: Units[] } };
  expect(reordered.units.map(({ name, kind }) => `${kind} of ${name}`)).toEqual([
    "heads of h.0.attn.c_proj",
    "hidden of h.0.mlp.c_proj",
    "heads of h.1.attn.c_proj",
    "hidden of h.1.mlp.c_proj",
  ]);
  expect(json("some", "reorder.json").units).toEqual(reordered.units);
});

test("a conversion says what moved before it prints the plan", async () => {
  const how = ["--structure", "gblr", "--budget", "0.5", "--reorder", "clusters", "--reorder-units", "hidden"];
  const { code, stdout } = await gblr(...how, "--out", at("told"));
  expect(code).toBe(0);
  expect(stdout).toMatch(/^reordered by clusters\n {2}hidden units: 1\d\d of 128 moved, in 2 orders\n/);
  expect(stdout).toContain("dense → gblr");
});

test("a written model without an order has no orders of the model that it replaces", async () => {
  const args = ["--structure", "lowrank", "--budget", "0.5", "--out", at("some"), "--force"];
  expect(await gblr(...args)).toMatchObject({ code: 0 });
  expect(() => json("some", "reorder.json")).toThrow();
});

const refusals: [string, string[], string][] = [
  [
    "an unknown order",
    ["--structure", "gblr", "--budget", "0.5", "--reorder", "best"],
    "Allowed choices are none, energy, seriation, clusters, search.",
  ],
  [
    "units without an order",
    ["--structure", "gblr", "--budget", "0.5", "--reorder-units", "heads"],
    "--reorder-units needs --reorder; give an order",
  ],
  [
    "a budget without a conversion",
    ["--structure", "dense", "--budget", "0.5", "--reorder", "energy"],
    "--budget and --structure dense contradict each other: nothing is converted; leave it out",
  ],
  [
    "units that the model lacks",
    ["--structure", "dense", "--reorder", "energy", "--reorder-units", "channels"],
    "GPT-2 has no free order of channels; it has keys, values, heads, hidden, stream; choose one of these",
  ],
];

test.each(refusals)("%s is refused in one line", async (_, args, message) => {
  const { code, stderr } = await gblr(...args, "--out", at("refused"));
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(message);
  expect(stderr).not.toContain("    at ");
});

test("a model that is compressed already is refused", async () => {
  const args = ["--structure", "dense", "--reorder", "energy", "--engine", "cpu", "--out", at("refused")];
  const { code, stderr } = await runVerb(addConvert, ["convert", at("low"), ...args]);
  expect(code).toBe(1);
  expect(stderr).toContain("the model is compressed already");
});
