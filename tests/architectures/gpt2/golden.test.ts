// The small GPT-2 of the shared hub against the numbers that PyTorch gave for it: logits, and the likelihood of the first
// windows. Skipped where that hub is not; pytorch.test.ts holds a model of its own making against PyTorch itself.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { toFloat64 } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import type { Gpt2Config, Model } from "../../../workbench/models/index.ts";
import { ENGINES } from "../../engine/engines.ts";

const shared = fileURLToPath(new URL("../../../../shared/", import.meta.url));
const folder = `${shared}hub/models/gblr/gpt2-mini`;
const golden = `${shared}golden/gpt2-mini.safetensors`;

for (const { label, name, options } of ENGINES) {
  // The plain interpreter would take minutes.
  describe.skipIf(name === "cpu" || !existsSync(folder) || !existsSync(golden))(`gpt2-mini (${label})`, () => {
    let model: Model<Gpt2Config>;
    beforeAll(async () => {
      await openEngine(options);
      model = (await loadModelNow(folder)) as Model<Gpt2Config>;
    });
    afterAll(() => model.dispose());

    test("gives PyTorch's logits", async () => {
      const expected = await readSafetensors(golden);
      const get = (name: string) => toFloat64(expected.get(name) as never);
      const ids = tf.tensor2d(Int32Array.from(get("input_ids")), [1, 256], "int32");
      const logits = languageLogits(model, ids);
      expect(logits.shape).toEqual([1, 256, 50257]);
      const flat = logits.reshape([256, 50257]) as tf.Tensor2D;
      expectNear(await flat.slice([255, 0], [1, 50257]).data(), get("last_logits"));
      expectNear(await flat.mean(1).data(), get("logits_mean"));
      expectNear(await flat.slice([0, 0], [256, 8]).data(), get("logits_first8"));
      tf.dispose([ids, logits, flat]);
    });
  });
}

function expectNear(values: ArrayLike<number>, expected: Float64Array): void {
  expect(values.length).toBe(expected.length);
  const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (values[i] as number))), 0);
  expect(worst).toBeLessThan(1e-3);
}
