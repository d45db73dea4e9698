// A structure that is defined outside the workbench goes through all of it: converted, trained, saved, loaded, inspected,
// reported, described in a card and loaded by PyTorch, by nothing but its registration.

import { afterAll, beforeAll, expect, describe as group, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { checkModelFolder, findLayers, openModel } from "../../hub/model-folder/index.ts";
import { exportDense, planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { denseWeight, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { describe } from "../../workbench/report/describe-model.ts";
import { registerStructure, structureNamed } from "../../workbench/structures/registry.ts";
import { converted, logitsOf, TINY, tinyModel, tokens } from "../compress/tiny.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { makeTinyHub, QUICK, run } from "../pipeline/tiny-hub.ts";
import { askPython, pythonWith } from "../python/python.ts";
import { diagonalLowRank } from "./example-structure.ts";

// PyTorch starts slowly on a machine that other tests keep busy.
setDefaultTimeout(240_000);

const { name } = diagonalLowRank;
const folder = temporaryFolder();
const torch = pythonWith("torch");
/** Layers that a GPT-2 of two blocks has converted. */
const CONVERTED = 6;
/** Logits of the converted models, by folder. */
const truths = new Map<string, Float32Array>();

let unregister: () => void;
beforeAll(() => {
  unregister = registerStructure(diagonalLowRank);
});
afterAll(() => {
  unregister();
  expect(() => structureNamed(name)).toThrow(`there is no structure "${name}"`);
});

async function convertedModel(): Promise<Model> {
  const model = tinyModel() as Model;
  await converted(model, await planConversion(model, { structure: name, budget: 0.6 }));
  return model;
}

test.each([undefined, "", "__proto__", "a b/../c"])("a structure named %p is not registered", (bad) => {
  expect(() => registerStructure({ ...diagonalLowRank, name: bad as string })).toThrow(
    "the name of a structure must be lowercase letters",
  );
});

test("a structure is registered once, under the name that it has in files", () => {
  expect(() => registerStructure(diagonalLowRank)).toThrow(`the structure "${name}" exists already`);
  expect(() => registerStructure({ ...diagonalLowRank, name: "another" })).toThrow(
    `structure "another" has the name "${name}" in files; use one name for both`,
  );
});

forEachEngine("a registered structure", (_, { label }) => {
  const place = (what: string) => folder(label.replaceAll(/\W/g, "-"), what);

  test("keeps the diagonal and the nearest low rank of the rest, and multiplies as its matrix does", async () => {
    const before = liveTensors();
    const weight = toTensor(sample(3, [12, 8], 0.5)) as tf.Tensor2D;
    const parameters = await diagonalLowRank.fromDense(weight, 0.7);
    const whole = await diagonalLowRank.fromDense(weight, 3);
    expectClose(await read(diagonalLowRank.dense(whole)), await read(weight), { tolerance: 1e-5 });
    const x = toTensor(sample(5, [3, 8]));
    const product = diagonalLowRank.apply(parameters, x);
    const matrix = diagonalLowRank.dense(parameters);
    // The product entry by entry, from the parameters' own numbers.
    const [d, l, r] = await Promise.all(
      ["diagonal", "left", "right"].map((part) => read(parameters[part] as tf.Tensor)),
    );
    const rank = parameters.left?.shape[1] as number;
    const at = (o: number, i: number) =>
      (o === i ? Number(d?.[i]) : 0) +
      Array.from({ length: rank }, (_, k) => Number(l?.[o * rank + k]) * Number(r?.[k * 8 + i])).reduce(
        (a, b) => a + b,
      );
    const rows = await read(x);
    const truth = Float64Array.from({ length: 36 }, (_, j) =>
      Array.from({ length: 8 }, (_, i) => Number(rows[Math.floor(j / 12) * 8 + i]) * at(j % 12, i)).reduce(
        (a, b) => a + b,
      ),
    );
    expectClose(await read(product), truth as never, { tolerance: 1e-5 });
    tf.dispose([weight, parameters, whole, x, product, matrix]);
    expect(liveTensors().tensors - before.tensors).toBeLessThanOrEqual(1);
  });

  test("is converted to within the budget, saved, checked, inspected and loaded again with the same logits", async () => {
    const model = await convertedModel();
    const logits = await logitsOf(model);
    await saveModelNow(model, place("saved"));
    truths.set(place("saved"), logits);
    await checkModelFolder(place("saved"));
    const open = await openModel(place("saved"));
    const { inspection } = await describe(findLayers(open), { path: "saved" });
    await open.tensors.close();
    const layers = inspection.layers.filter(({ structure }) => structure === name);
    expect(layers.length).toBe(CONVERTED);
    expect(inspection.totals.structured.share).toBeLessThanOrEqual(0.6);
    for (const { name: layer, cost } of layers) {
      const own = model.layer(layer).structure;
      expect(cost).toBe(await own.cost(model.structureParameters(layer)));
    }
    const loaded = await loadModelNow(place("saved"));
    expect(await logitsOf(loaded)).toEqual(logits);
    for (const each of model.layers.keys()) {
      const [one, other] = [denseWeight(model, each), denseWeight(loaded, each)];
      expect(await read(one)).toEqual(await read(other));
      tf.dispose([one, other]);
    }
    expect(exportDense(loaded).length).toBe(CONVERTED);
    expectClose(await logitsOf(loaded), logits as never, { tolerance: 1e-4 });
    model.dispose();
    loaded.dispose();
  });
});

test.skipIf(!torch)("a registered structure gives the same logits in PyTorch", async () => {
  const ids = tokens(4);
  const rows = Array.from(await ids.data());
  ids.dispose();
  const asked = JSON.stringify([rows.slice(0, TINY.n_positions), rows.slice(TINY.n_positions)]);
  const folders = [...truths.keys()];
  const args = [asked, ...folders.map((each) => `${each}:auto`)];
  const answers = await askPython<{ logits: number[] }[]>(torch, "logits.py", { args });
  expect(answers.length).toBeGreaterThan(0);
  for (const [i, { logits }] of answers.entries()) {
    expectClose(Float32Array.from(logits), truths.get(folders[i] as string) as never, { tolerance: 1e-4 });
  }
});

group("a recipe with a registered structure", () => {
  test("converts, fine-tunes, measures, and writes a model, a card and a report that name it", async () => {
    await openEngine({ engine: "wasm" });
    const hub = await makeTinyHub(folder("hub"));
    const work = folder("work");
    mkdirSync(work);
    const script = join(import.meta.dir, "example-recipe.ts");
    const args = [...QUICK, "--structure", name, "--budget", "0.6", "--shrink", "none", "--run", "runs/a", "--json"];
    const { code, stdout, stderr } = await run(script, args, { hub, work });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { rows } = JSON.parse(stdout) as { rows: { name: string; stage: string; metrics: Record<string, number> }[] };
    const [before, after] = ["before", "after"].map((stage) =>
      rows.find((row) => row.name === "diagonal plus low rank" && row.stage === stage),
    );
    expect(after?.metrics.perplexity as number).toBeLessThan(before?.metrics.perplexity as number);
    const text = (file: string) => readFileSync(join(work, "runs/a", file), "utf8");
    expect(text("model/README.md")).toContain("its linear layers replaced by diagonal plus low-rank matrices");
    expect(text("report.html")).toContain("diagonal plus low rank");
    expect(text("model/modeling_gblr.py")).toContain("class DiagonalLowRankLinear(StructuredLinear)");
    const model = await loadModelNow(join(work, "runs/a/model"));
    expect([...model.layers.values()].filter(({ structure }) => structure.name === name).length).toBe(CONVERTED);
    model.dispose();
  });
});
