// What training asks of GPT-2: dropout that a seed decides and that leaves the mean as it is, a loss that keeps no
// logits, and steps that learn, in every structure.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { attend } from "../../../workbench/architectures/parts/attention.ts";
import { dropper } from "../../../workbench/architectures/parts/dropout.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { type Gpt2Config, languageLoss, languageNll, type Model } from "../../../workbench/models/index.ts";
import { ENGINES, forEachEngine } from "../../engine/engines.ts";
import { ids, livelier, structured, taken, tinyGpt2 } from "../../models/tiny.ts";
import { descent, expectSeededDropout } from "../training.ts";

const RATES = ["embd_pdrop", "resid_pdrop", "attn_pdrop"] as const;
const logits = (model: Model<Gpt2Config>, dropoutSeed?: number) =>
  taken(tf.tidy(() => languageLogits(model, ids(2, 9), { dropoutSeed })));

forEachEngine("dropout in GPT-2", () => {
  for (const rate of RATES) {
    test(`at ${rate} a seed decides what drops, and none drops nothing`, async () => {
      const model = livelier(tinyGpt2({ [rate]: 0.3 }));
      const none = livelier(tinyGpt2());
      await expectSeededDropout(
        (seed) => logits(model, seed),
        (seed) => logits(none, seed),
      );
      for (const each of [model, none]) each.dispose();
    });
  }

  test("attention in steps is the fused attention while nothing is dropped, and its mean when something is", async () => {
    const [q, k, v] = [1, 2, 3].map((seed) => tf.randomNormal([1, 2, 4, 3], 0, 1, "float32", seed)) as tf.Tensor4D[];
    const run = (seed: number | undefined, rate: number) =>
      taken(
        tf.tidy(() =>
          attend(q as tf.Tensor, k as tf.Tensor, v as tf.Tensor, {
            causal: true,
            scale: 0.5,
            drop: dropper(seed),
            rate,
          }),
        ),
      );
    const fused = await run(undefined, 0.5);
    const composed = await run(1, 1e-9);
    for (const [i, value] of fused.entries()) expect(composed[i]).toBeCloseTo(value, 5);
    const mean = new Float32Array(fused.length);
    const count = 600;
    for (let seed = 0; seed < count; seed++) {
      for (const [i, value] of (await run(seed, 0.2)).entries()) mean[i] = (mean[i] as number) + value / count;
    }
    for (const [i, value] of fused.entries()) expect(Math.abs((mean[i] as number) - value)).toBeLessThan(0.12);
    tf.dispose([q, k, v]);
  });
});

forEachEngine("learning", (_, { name: engine }) => {
  for (const structure of ["dense", "gblr", "lowrank", "monarch"]) {
    test.skipIf(engine === "cpu")(`a few steps of descent lower the loss of a ${structure} model`, async () => {
      const model = tinyGpt2({ resid_pdrop: 0.05, attn_pdrop: 0.05 });
      if (structure !== "dense") await structured(model, ["h.0.mlp.c_fc", "h.1.attn.c_attn"], structure);
      const { losses, counts } = await descent(model as Model, 0.5);
      expect(losses[0]).toBeCloseTo(Math.log(40), 0);
      expect(losses.at(-1) as number).toBeLessThan((losses[0] as number) - 0.5);
      // The first step makes the masks' tables.
      expect(counts.at(-1)).toBe(counts[0] as number);
      model.dispose();
    });
  }

  test("the loss is the mean of the likelihoods by token", async () => {
    const model = livelier(tinyGpt2());
    const windows = ids(2, 10);
    const nll = await taken(languageNll(model, windows));
    expect((await taken(languageLoss(model, windows)))[0]).toBeCloseTo(
      nll.reduce((sum, each) => sum + each, 0) / 18,
      5,
    );
    expect(() => languageLoss(model, ids(1, 14))).toThrow(
      /ids must be at most 12 tokens, the model's positions, got 13/,
    );
    expect(() => languageLoss(model, windows, { dropoutSeed: -1 })).toThrow(/seed must be a whole number from 0/);
    windows.dispose();
    model.dispose();
  });
});

test.skipIf(!ENGINES.some(({ name }) => name === "torch"))("a loss never has the logits of all tokens", async () => {
  const [vocabulary, batch] = [60_000, 2];
  const { stdout } = Bun.spawnSync([process.execPath, `${import.meta.dir}/loss-peak.ts`, `${vocabulary}`, `${batch}`]);
  const logits = 4 * batch * 1024 * vocabulary;
  const peak = Number(stdout.toString());
  expect(peak).toBeGreaterThan(0);
  // Kept, they and their gradient would take twice this.
  expect(peak).toBeLessThan(logits);
});
