// The architecture of example.ts, registered and nothing else: it is made, counted, planned, converted, trained, measured,
// saved, loaded, inspected, described on a card, imported as bare weights, and read by Python.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { registerArchitecture } from "../../workbench/architectures/registry.ts";
import { convert, exportDense, planConversion } from "../../workbench/compress/index.ts";
import type { TextWindows } from "../../workbench/data/types.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { perplexity } from "../../workbench/evaluate/perplexity.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  architectureOf,
  createModel,
  forInference,
  generateTokens,
  languageLoss,
  type Model,
  modelCounts,
  saveModelNow,
} from "../../workbench/models/index.ts";
import { importWeights } from "../../workbench/models/weights/index.ts";
import { writeCard } from "../../workbench/pipeline/save.ts";
import { describeModel } from "../../workbench/report/index.ts";
import { fit, languageTask } from "../../workbench/train/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { taken } from "../models/tiny.ts";
import { askPython, PATIENCE, pythonWith } from "../python/python.ts";
import { bigram } from "./example.ts";

const at = temporaryFolder();
const torch = pythonWith("torch");
const CONFIG = { vocab_size: 30, width: 16, inner: 24, positions: 12 };
const IDS = [[1, 2, 3, 29, 0, 7]];

const ids = () => tf.tensor2d(IDS, undefined, "int32");
const logitsOf = (model: Model) => taken(tf.tidy(() => languageLogits(model, ids())));

/** The next token is the double of this one. */
const windows: TextWindows = {
  ...{ length: 8, context: 12, stride: 12, scored: 96, leftOut: 0 },
  newTargets: () => 12,
  read: async (i) => Int32Array.from({ length: 13 }, (_, at) => ((i + 1) * 2 ** at) % CONFIG.vocab_size),
};

async function perplexityOf(model: Model): Promise<number> {
  for await (const event of perplexity(model, { windows })) if (event.kind === "perplexity") return event.perplexity;
  throw new Error("was not measured");
}

/** Converted to GBLR at half its linear layers' cost, then trained. */
let model: Model;
let costs: { dense: number; converted: number };
let scores: { before: number; after: number };

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  registerArchitecture(bigram);
  model = createModel(bigram, CONFIG, { seed: 3 }) as Model;
  const dense = (await modelCounts(model)).actual.total;
  const plan = await planConversion(model, { structure: "gblr", budget: 0.5 });
  for await (const _ of convert(model, plan));
  costs = { dense, converted: (await modelCounts(model)).actual.total };
  const before = await perplexityOf(model);
  const optimizer = { learningRate: 0.02 };
  const task = languageTask({ model, windows });
  const settings = {
    model,
    task,
    folder: at("run"),
    length: { steps: 40 },
    batch: 8,
    microBatch: 8,
    seed: 1,
    optimizer,
  };
  for await (const _ of fit(settings));
  scores = { before, after: await perplexityOf(model) };
  await saveModelNow(model, at("model"), { trainable: true });
});

/** Without the blocks of one sample, which evaluation leaves out. */
async function evaluatedLogits(): Promise<Float32Array> {
  const view = await forInference(model);
  const logits = await logitsOf(view);
  view.dispose();
  return logits;
}

describe("an architecture that is registered", () => {
  test("is known by its type, once", () => {
    expect(architectureOf("bigram")).toBe(bigram as never);
    expect(architectureOf("gblr_bigram")).toBe(bigram as never);
    expect(() => registerArchitecture(bigram)).toThrow(
      'there is an architecture "bigram" already; give it another type',
    );
    expect(() => registerArchitecture({} as never)).toThrow("the name of an architecture must be lowercase letters");
  });

  test("costs what its modules say, and no more than the plan once converted", () => {
    const linears = 12 * 2 * 16 * 24;
    expect(costs.dense).toBe(linears + 12 * 16 * 30);
    expect(costs.dense - costs.converted).toBeGreaterThanOrEqual(linears / 2);
  });

  test("learns, and continues text as it has learned", async () => {
    expect(scores.after).toBeLessThan(scores.before / 2);
    const made: number[] = [];
    for await (const event of generateTokens(model, [1], { temperature: 0, tokens: 4 })) {
      if (event.kind === "token") made.push(event.id);
    }
    expect(made).toEqual([2, 4, 8, 16]);
  });

  test("is loaded as it was saved, packed and to be trained", async () => {
    for (const form of ["packed", "trainable"] as const) {
      const loaded = await loadModelNow(at("model"), { form });
      const expected = await (form === "packed" ? evaluatedLogits() : logitsOf(model));
      expect(loaded.layer("mlp.fc1").structure.name).toBe(form === "packed" ? "packed" : "gblr");
      const deviations = (await logitsOf(loaded)).map((value, i) => Math.abs(value - (expected[i] as number)));
      expect(Math.max(...deviations)).toBeLessThan(1e-5);
      loaded.dispose();
    }
    const config = JSON.parse(readFileSync(at("model", "config.json"), "utf8"));
    expect(config).toMatchObject({ ...CONFIG, model_type: "gblr_bigram", gblr: { structure: "gblr" } });
    expect(config.gblr.relative_flops.actual).toBe((await modelCounts(model)).actual.relative);
  });

  test("is inspected, and described on a card", async () => {
    const { inspection } = await describeModel(at("model"));
    expect(inspection.layers.map(({ name, structure }) => [name, structure])).toEqual([
      ["mlp.fc1", "gblr"],
      ["mlp.fc2", "gblr"],
    ]);
    expect(await writeCard(at("model"), { title: "bigram", task: bigram.task.kind, structure: "gblr" })).toBe(true);
    const card = readFileSync(at("model", "README.md"), "utf8");
    expect(card).toContain("pipeline_tag: text-generation");
    expect(card).toContain("from modeling_gblr import load");
    // Transformers has no class for it.
    expect(card).not.toContain("AutoModelForCausalLM");
  });

  test("is dense again, and known by its bare weights", async () => {
    const copy = await loadModelNow(at("model"));
    exportDense(copy);
    const loss = (of: Model) => taken(languageLoss(of, ids()));
    const expected = await loss(copy);
    await saveModelNow(copy, at("dense"));
    copy.dispose();
    const weights = path.join(at("dense"), "model.safetensors");
    for await (const _ of importWeights(weights, { out: at("imported") }));
    const imported = await loadModelNow(at("imported"));
    expect(await loss(imported)).toEqual(expected);
    imported.dispose();
  });

  test.skipIf(!torch)(
    "gives the same logits in PyTorch",
    async () => {
      const input = JSON.stringify({
        ids: IDS[0],
        cases: ["auto", "trainable"].map((form) => ({ folder: at("model"), size: null, form })),
      });
      const answers = await askPython<{ logits: number[]; refusal?: string }[]>(torch, "folder_logits.py", {
        args: [at("model")],
        input,
      });
      const expected = await evaluatedLogits();
      for (const { logits, refusal } of answers) {
        expect(refusal).toBeUndefined();
        const deviations = logits.map((value, i) => Math.abs(value - (expected[i] as number)));
        expect(Math.max(...deviations)).toBeLessThan(1e-4);
      }
    },
    PATIENCE,
  );
});
