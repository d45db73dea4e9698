// Calibration on every engine: the mean of x xᵀ is that of float64, however inputs are batched, and what is fitted with it
// is nearer in its outputs than what is fitted without.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type Covariances, calibrate, planConversion, windowInputs } from "../../workbench/compress/index.ts";
import { architectureOf, createModel, languageHidden, type Model } from "../../workbench/models/index.ts";
import { SIZES } from "../architectures/llama/families.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read, sampleIds } from "../engine/ops/operands.ts";
import { converted, TINY, tinyModel } from "./tiny.ts";

const windows = {
  length: 7,
  context: TINY.n_positions,
  read: async (i: number) => sampleIds(40 + i, TINY.n_positions + 1, TINY.vocab_size),
};

async function covariancesOf(model: Model, layers: string[], { samples = 7, batch = 1 } = {}): Promise<Covariances> {
  const inputs = windowInputs(windows, { samples, batch });
  for await (const event of calibrate(model, inputs, { layers, forward: (ids) => languageHidden(model, ids) })) {
    if (event.kind === "calibrated") return event.covariances;
  }
  throw new Error("calibration did not end");
}

forEachEngine("calibrate", () => {
  test("gives the mean of x xᵀ over all rows, whatever the batch", async () => {
    const model = tinyModel();
    const name = "h.1.mlp.c_proj";
    const rows: number[][] = [];
    model.observer = (layer, x) => {
      if (layer !== name) return;
      for (const row of tf.reshape(x, [-1, 64]).arraySync() as number[][]) rows.push(row);
    };
    for (let i = 0; i < 7; i++) {
      const ids = (await windows.read(i)).subarray(0, TINY.n_positions);
      languageHidden(model, tf.tensor2d(ids, [1, TINY.n_positions], "int32"));
    }
    model.observer = undefined;
    expect(rows.length).toBe(7 * TINY.n_positions);
    const expected = new Float64Array(64 * 64);
    for (const row of rows) {
      for (let i = 0; i < 64; i++) {
        for (let j = 0; j < 64; j++) {
          expected[64 * i + j] =
            (expected[64 * i + j] as number) + ((row[i] as number) * (row[j] as number)) / rows.length;
        }
      }
    }
    for (const batch of [1, 3]) {
      const found = await covariancesOf(model, [name, "h.0.attn.c_attn"], { batch });
      expect([...found.keys()]).toEqual([name, "h.0.attn.c_attn"]);
      expectClose(await read(found.get(name) as tf.Tensor), expected, { tolerance: 2e-6 });
    }
    expect(model.observer).toBeUndefined();
    model.dispose();
  });

  test("gives layers with the same input the same tensor, computed once", async () => {
    const json = { ...SIZES, model_type: "llama", vocab_size: TINY.vocab_size };
    const model = createModel(architectureOf("llama"), json);
    const all = ["q_proj", "k_proj", "v_proj"].map((name) => `layers.0.self_attn.${name}`);
    const rest = ["gate_proj", "up_proj", "down_proj"].map((name) => `layers.0.mlp.${name}`);
    const found = await covariancesOf(model, [...all, ...rest]);
    const [q, k, v, gate, up, down] = [...all, ...rest].map((name) => found.get(name)?.id);
    expect([k, v, up]).toEqual([q, q, gate]);
    expect(new Set([q, gate, down]).size).toBe(3);
    for (const name of ["layers.0.self_attn.v_proj", "layers.0.mlp.up_proj"]) {
      const alone = await covariancesOf(model, [name]);
      expect(await read(found.get(name) as tf.Tensor)).toEqual(await read(alone.get(name) as tf.Tensor));
      tf.dispose([...alone.values()]);
    }
    tf.dispose([...found.values()]);
    model.dispose();
  });

  test("fits by outputs nearer in outputs, by entries nearer in entries, at the same cost", async () => {
    for (const structure of ["gblr", "lowrank"]) {
      const fitted = async (init: "svd" | "activation", allocation: "uniform" | "global" = "uniform") => {
        const model = tinyModel();
        const plan = await planConversion(model, { structure, budget: 0.53 });
        const covariances = await covariancesOf(
          model,
          plan.layers.map(({ name }) => name),
        );
        const final =
          allocation === "uniform"
            ? plan
            : await planConversion(model, { structure, budget: 0.53, allocation, covariances });
        const { layers } = await converted(model, final, { init, covariances });
        model.dispose();
        for (const covariance of covariances.values()) covariance.dispose();
        return layers;
      };
      const [plain, aware] = [await fitted("svd"), await fitted("activation")];
      for (const [i, layer] of aware.entries()) {
        expect(layer.cost).toBe(plain[i]?.cost as number);
        expect(layer.outputError as number).toBeLessThan(plain[i]?.outputError as number);
        expect(layer.error).toBeGreaterThanOrEqual((plain[i]?.error as number) - 1e-6);
      }
      const worst = (layers: typeof aware) => Math.max(...layers.map(({ outputError = 0 }) => outputError));
      expect(worst(await fitted("activation", "global"))).toBeLessThan(worst(aware));
    }
  });

  test("leaves nothing behind when it is stopped", async () => {
    const model = tinyModel();
    const before = tf.memory().numTensors;
    const inputs = windowInputs(windows, { samples: 5 });
    for await (const event of calibrate(model, inputs, {
      layers: ["h.0.mlp.c_fc"],
      forward: (ids) => languageHidden(model, ids),
    })) {
      expect(event.kind).toBe("progress");
      break;
    }
    expect(tf.memory().numTensors).toBe(before);
    await expect(covariancesOf(model, ["h.0.mlp.c_fc"], { samples: 0 })).rejects.toThrow(
      "h.0.mlp.c_fc received no input from 0 inputs of the model; use more data",
    );
    model.dispose();
  });
});
