// Recovery of compressed language models by adapters and distillation, as an experiment with several variants: what it
// gains, what stays as it was, from which teacher it learns, and which settings are refused.

import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { experiment } from "../../workbench/pipeline/experiment.ts";
import type { PipelineEvent } from "../../workbench/pipeline/stage.ts";
import type { ComparisonRow } from "../../workbench/report/index.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";
import { semiStructured } from "../../workbench/structures/pruned.ts";
import { structureNamed, structures } from "../../workbench/structures/registry.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { makeTinyHub, offlineContext, sourcesIn } from "./tiny-hub.ts";

setDefaultTimeout(240_000);

const at = temporaryFolder();
const canHoldHalf = ENGINES.some(({ name }) => name === "torch");
let engine: Engine;
let model: string;
let dataset: string;
beforeAll(async () => {
  engine = await openEngine({ engine: canHoldHalf ? "torch" : "wasm", device: "cpu" });
  ({ model, dataset } = sourcesIn(await makeTinyHub(at("hub"))));
});

/** Runs an experiment to its end. @returns the rows and the events */
async function run(given: Partial<LanguageSettings>, folder: string) {
  const quick = { context: 32, batch: 2, microBatch: 2, warmupSteps: 2, limit: 8, calibrationSamples: 8 };
  const settings = languageSettings.parse({ ...quick, model, dataset, ...given });
  const context = offlineContext(engine, { cache: at("cache") });
  const events: PipelineEvent[] = [];
  for await (const event of experiment(languageDomain, settings, { context, folder })) events.push(event);
  const last = events.at(-1);
  if (last?.kind !== "finished") throw new Error("the experiment did not finish");
  return { rows: last.rows, events };
}

const rowOf = (rows: readonly ComparisonRow[], name: string, stage: ComparisonRow["stage"]): ComparisonRow =>
  rows.find((row) => row.name === name && row.stage === stage) as ComparisonRow;

const perplexityOf = (row: ComparisonRow): number => row.metrics.perplexity as number;

const tensorsOf = async (folder: string) => {
  const file = readdirSync(folder).find((name) => name === "trainable.safetensors") ?? "model.safetensors";
  return readSafetensors(join(folder, file));
};

describe("a trained model that was compressed recovers", () => {
  let trained: string;
  beforeAll(async () => {
    const settings = { structure: "dense", steps: 300, batch: 4, learningRate: 1e-2, evaluateEvery: 100 } as const;
    await run(settings, at("trained"));
    trained = join(at("trained"), "model");
  });

  test("by adapters on its factors with the dense model as the teacher, at the same cost, whatever its structure", async () => {
    const recovery = { lora: 4, loraAlpha: 8, steps: 30, learningRate: 5e-3, distill: 0.5, evaluateEvery: 10 };
    const others = structures().filter(({ isDense, isStoredOnly, needsConvolution, hasWidths }) => {
      return !isDense && !isStoredOnly && !needsConvolution && !hasWidths;
    });
    const asked = new Map([
      [lowrank.name, `${lowrank.name}:activation`],
      // It keeps half of the entries.
      [semiStructured.name, `${semiStructured.name}@0.5`],
    ]);
    const compare = others.map(({ name }) => asked.get(name) ?? name);
    const folder = at("recovered");
    const { rows } = await run({ ...recovery, model: trained, budget: 0.3, init: "activation", compare }, folder);
    const names = [...new Set(rows.slice(1).map(({ name }) => name))];
    expect(names.length).toBe(others.length + 1);
    for (const name of names) {
      const [before, after] = [rowOf(rows, name, "before"), rowOf(rows, name, "after")];
      // Pruned matrices have less to recover.
      const share = structureNamed(after.structure).keepsZeros ? 0.95 : 0.8;
      expect(perplexityOf(after)).toBeLessThan(share * perplexityOf(before));
      expect([after.parameters, after.relativeFlops, after.fileBytes]).toEqual([
        before.parameters,
        before.relativeFlops,
        before.fileBytes,
      ]);
    }
    // Of the model, only the factors have changed; of a GBLR matrix neither widths nor locations.
    for (const [own, factors] of [
      ["", /\.(lr_weight1|lr_weight2)$/],
      ["compare/lowrank-activation", /\.(left|right)$/],
      ["compare/monarch", /\.(first|second)$/],
      ["compare/unstructured", /\.entries$/],
    ] as const) {
      const [before, after] = await Promise.all(
        ["converted", "model"].map((kind) => tensorsOf(join(folder, own, kind))),
      );
      const changed = [...(before?.keys() ?? [])].filter(
        (name) => !Bun.deepEquals(before?.get(name)?.data, after?.get(name)?.data),
      );
      expect(changed.length).toBeGreaterThan(4);
      expect(changed.filter((name) => !factors.test(name))).toEqual([]);
    }
    // What a checkpoint holds has the size of adapters.
    const checkpoint = join(folder, "compare/lowrank-activation/checkpoint/step-0000000030.safetensors");
    const stored = [...(await readSafetensors(checkpoint)).keys()];
    expect(stored.every((name) => /\.lora_[AB]$/.test(name))).toBe(true);
  });

  test.skipIf(!canHoldHalf)(
    "with a named teacher in half precision nearly as with the base model in float32",
    async () => {
      const recovery = {
        lora: 4,
        steps: 8,
        learningRate: 5e-3,
        distill: 1,
        structure: "lowrank",
        budget: 0.3,
      } as const;
      const first = await run({ ...recovery, model: trained }, at("taught"));
      const half = { ...recovery, model: trained, teacher: trained, teacherDtype: "bfloat16" } as const;
      const second = await run(half, at("half"));
      const [one, other] = [first, second].map(({ rows }) => perplexityOf(rowOf(rows, "low rank", "after")));
      expect(one).not.toBe(other as number);
      expect(Math.abs(Math.log((one as number) / (other as number)))).toBeLessThan(0.01);
      const { settings } = JSON.parse(readFileSync(join(at("half"), "checkpoint/step-0000000008.json"), "utf8")).run;
      expect(settings).toMatchObject({
        teacher: trained,
        "teacher type": "bfloat16",
        "lora rank": 4,
        "lora alpha": 4,
        "lora step sizes": "by factors",
      });
    },
  );

  test("by training of all parameters with a dense teacher, when it is fine-tuned as a folder", async () => {
    const lowrank = join(at("taught"), "converted");
    const settings = { structure: "dense", steps: 20, learningRate: 5e-3, distill: 1, teacher: trained } as const;
    const { rows } = await run({ ...settings, model: lowrank }, at("tuned"));
    const [before, after] = [rows[0], rows.at(-1)] as [ComparisonRow, ComparisonRow];
    expect(perplexityOf(after)).toBeLessThan(0.95 * perplexityOf(before));
  });
});

test("variants that are not to be trained are converted and measured, and not converted again", async () => {
  const folder = at("some");
  const given = { structure: "lowrank", compare: ["lowrank:activation", "monarch"], budget: 0.5, steps: 2, lora: 2 };
  const { rows } = await run({ ...given, fineTune: ["lowrank:activation"] }, folder);
  expect(rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual([
    "dense before",
    "low rank, activation-aware before",
    "low rank, activation-aware after",
    "Monarch before",
    "low rank before",
  ]);
  expect(readdirSync(folder)).toContain("converted");
  expect(readdirSync(folder)).not.toContain("model");
  const again = await run({ ...given, fineTune: ["lowrank:activation"] }, folder);
  expect(again.rows).toEqual(rows);
  expect(again.events.filter((event) => event.kind === "inner" && event.of === "load")).toEqual([]);
  const more = await run({ ...given, fineTune: ["lowrank", "lowrank:activation"] }, folder);
  expect(more.rows.map(({ stage }) => stage)).toEqual(["before", "before", "after", "before", "before", "after"]);
  expect(readdirSync(folder)).toContain("model");
  const none = await run({ ...given, compare: [], fineTune: ["none"] }, at("none"));
  expect(none.rows.map(({ stage }) => stage)).toEqual(["before", "before"]);
});

test.each([
  [{ fineTune: ["monarch"] }, "--fine-tune monarch is none of the variants lowrank; leave it out"],
  [{ fineTune: ["none"], compare: ["dense"] }, "dense would be neither converted nor trained; add it to --fine-tune"],
  [{ loraAlpha: 8 }, "--lora-alpha needs --lora"],
  [{ loraLayers: "h.0", loraFull: ["bias"] }, "--lora-layers needs --lora; --lora-full needs --lora"],
  [{ teacher: "a/b" }, "--teacher needs --distill"],
  [{ teacherDtype: "bfloat16" as const }, "--teacher-dtype needs --distill"],
  [
    { lora: 4, shrink: "targeted" as const, threshold: 1, target: 0.3 },
    "--shrink targeted changes widths, which --lora keeps; give one of them; --target changes",
  ],
  [{ compare: ["gblr+shrink=soft"] }, "--shrink soft needs --threshold"],
  [
    { lora: 4, compare: ["gblr+shrink=soft"], threshold: 1 },
    "--shrink soft changes widths, which --lora keeps; give one of them",
  ],
  [{ lora: 999 }, "lora: rank 999 is larger than the smaller side of every chosen matrix; give a rank of at most 32"],
  [{ lora: 4, loraLayers: "h.9" }, 'no layer of gpt2 has "h.9" in its name'],
  [{ lora: 4, loraFull: ["lm_head"] }, 'lora: no parameter of gpt2 that can be trained has "lm_head" in its name'],
])("settings %p are refused before any work", async (given, message) => {
  const folder = at("refused");
  await expect(run({ structure: "lowrank", budget: 0.5, steps: 2, ...given }, folder)).rejects.toThrow(message);
  expect(() => readdirSync(folder)).toThrow("ENOENT");
});
