// Small models of every family and with every option of their config.json, made by transformers: read from the folder
// that it wrote, with the same logits, losses and gradients, with a cache and without. Skipped where no Python has
// transformers.

import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import type { StoredTensor } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { parametersOf } from "../../../workbench/architectures/architecture.ts";
import { keyValueCache } from "../../../workbench/architectures/parts/cache.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { languageLoss, languageNll, type Model } from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { taken } from "../../models/tiny.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { FAMILY_CASES, SIZES } from "./families.ts";

const python = pythonWith("torch", "transformers", "safetensors");
const at = temporaryFolder();
const WINDOWS = [0, 1].map((row) => Array.from({ length: 13 }, (_, i) => (7 * i + 11 * row + 3) % SIZES.vocab_size));

beforeAll(async () => {
  if (!python) return;
  const models = Object.fromEntries(
    Object.entries(FAMILY_CASES).map(([name, { config, ...others }]) => [
      name,
      { config: { ...SIZES, ...config }, ...others },
    ]),
  );
  const input = JSON.stringify({ out: at(), windows: WINDOWS, models });
  await askPython(python, path.join(import.meta.dir, "reference.py"), { input, env: { HF_HUB_OFFLINE: "1" } });
}, PATIENCE);

type Expected = ReadonlyMap<string, StoredTensor>;
const valuesOf = (expected: Expected, name: string): Float32Array => expected.get(name)?.data as Float32Array;

const largestOf = (values: ArrayLike<number>): number => {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i] as number));
  return largest;
};

/**
 * The largest difference over the largest value.
 * @param least the largest value is taken to be at least this: the gradient of a bias that changes nothing is rounding
 */
function expectNear(
  what: string,
  values: ArrayLike<number>,
  { expected, tolerance, least = 0 }: { expected: Expected; tolerance: number; least?: number },
): void {
  const data = valuesOf(expected, what);
  expect(values.length).toBe(data.length);
  const worst = largestOf(Array.from(data, (value, i) => value - (values[i] as number)));
  const largest = Math.max(largestOf(data), least);
  expect(largest, `${what} is not nothing`).toBeGreaterThan(0);
  expect(worst / largest, `${what} differs`).toBeLessThan(tolerance);
}

const windows = () => tf.tensor2d(WINDOWS, undefined, "int32");

/** First five tokens, then one by one. */
async function stepwise(model: Model, ids: readonly number[]): Promise<Float32Array> {
  const cache = keyValueCache({ capacity: ids.length });
  const steps = [ids.slice(0, 5), ...ids.slice(5).map((id) => [id])];
  const found: number[] = [];
  for (const step of steps) {
    const logits = tf.tidy(() => languageLogits(model, tf.tensor2d([step], undefined, "int32"), { cache }));
    found.push(...(await taken(logits)));
  }
  cache.dispose();
  return Float32Array.from(found);
}

const configOf = (model: Pick<Model, "architecture">, name: string, file: string): unknown =>
  model.architecture.readConfig(JSON.parse(readFileSync(at(name, file), "utf8")), file);

forEachEngine("Llama's families and transformers'", () => {
  for (const [name, { config }] of Object.entries(FAMILY_CASES)) {
    test.skipIf(!python)(`agree: ${name}`, async () => {
      const expected: Expected = await readSafetensors(at(name, "expected", "model.safetensors"));
      const model = await loadModelNow(at(name));
      expect(model.json.model_type).toBe(config.model_type as string);
      // transformers writes the fields under their new names, and all defaults.
      expect(configOf(model, name, "given.json")).toEqual(configOf(model, name, "config.json"));
      const logits = tf.tidy(() => languageLogits(model, windows().slice([0, 0], [2, 12])));
      expectNear("logits", await taken(logits), { expected, tolerance: 1e-5 });
      expectNear("nll", await taken(tf.tidy(() => languageNll(model, windows()))), { expected, tolerance: 1e-5 });
      expectNear("cached", await stepwise(model, WINDOWS[0]?.slice(0, -1) ?? []), { expected, tolerance: 1e-5 });
      const { value, grads } = tf.variableGrads(() => languageLoss(model, windows()));
      value.dispose();
      const parameters = [...parametersOf(model.architecture, model.config).keys()];
      const stored = parameters.map((each) => (each === "lm_head.weight" ? each : `model.${each}`));
      expect(new Set(expected.keys())).toEqual(
        new Set(["logits", "nll", "cached", ...stored.map((each) => `gradient ${each}`)]),
      );
      const least = 1e-2 * Math.max(...stored.map((each) => largestOf(valuesOf(expected, `gradient ${each}`))));
      for (const [i, each] of parameters.entries()) {
        const gradient = grads[model.parameter(each).name] as tf.Tensor;
        expectNear(`gradient ${stored[i]}`, await taken(gradient), { expected, tolerance: 3e-5, least });
      }
      model.dispose();
    });
  }
});
