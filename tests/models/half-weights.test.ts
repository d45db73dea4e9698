// Weights that stay in half precision in memory: a model computes with them what a float32 model with the same rounded
// weights computes, and an engine without them refuses in one line.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { fromFloat32, toFloat32 } from "../../hub/safetensors/index.ts";
import { generateTokens } from "../../workbench/architectures/parts/generate.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { loadAddon } from "../../workbench/engine/backends/torch/addon.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  FILE_TYPES,
  type Gpt2Config,
  languageNll,
  type Model,
  saveModelNow,
  type WeightType,
} from "../../workbench/models/index.ts";
import { ENGINES, forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { ids, livelier, structured, taken, tinyGpt2 } from "./tiny.ts";

const folder = temporaryFolder();
const HALVES = ["bfloat16", "float16"] as const;
const untied = { tie_word_embeddings: false };

beforeAll(async () => {
  await openEngine();
  const model = livelier(tinyGpt2(untied));
  await saveModelNow(model, folder("float32"));
  for (const dtype of HALVES) await saveModelNow(model, folder(dtype), { dtype });
  await structured(model, ["h.0.mlp.c_fc"], "lowrank");
  await saveModelNow(model, folder("structured"));
  model.dispose();
});

const loaded = async (name: string, dtype?: WeightType) =>
  (await loadModelNow(folder(name), { dtype })) as Model<Gpt2Config>;

async function logitsOf(model: Model<Gpt2Config>, rows: [batch: number, tokens: number]): Promise<Float32Array> {
  return taken(tf.tidy(() => languageLogits(model, ids(...rows))));
}

/** The model with its matrices rounded on the host and held in float32. */
async function rounded(dtype: keyof typeof FILE_TYPES): Promise<Model<Gpt2Config>> {
  const model = await loaded("float32");
  for (const variable of model.parameters.values()) {
    if (variable.rank !== 2) continue;
    const { shape } = variable;
    const half = fromFloat32((await variable.data()) as Float32Array, { dtype: FILE_TYPES[dtype], shape });
    tf.tidy(() => variable.assign(tf.tensor(toFloat32(half), shape)));
  }
  return model;
}

/** The largest difference, relative to the largest value. */
function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number)))) / Math.max(...b.map(Math.abs));
}

/** The dtypes in which libtorch holds the parameters. */
function heldTypes(model: Model<Gpt2Config>): Record<string, string> {
  const { addon } = loadAddon();
  const handle = ({ dataId }: tf.Variable) => (dataId as { torch: { handle: number } }).torch.handle;
  return Object.fromEntries([...model.parameters].map(([name, each]) => [name, addon.describe(handle(each))[0]]));
}

for (const { label, options } of ENGINES.filter(({ name }) => name === "torch")) {
  describe(`weights in half precision (${label})`, () => {
    beforeAll(() => openEngine(options));
    afterAll(() => openEngine());

    for (const dtype of HALVES) {
      // 1 row and 8 rows take the addon's product, 24 rows a converted weight and a matrix product.
      for (const rows of [
        [1, 1],
        [1, 8],
        [2, 12],
      ] as [number, number][]) {
        test(`${dtype} gives the logits of the rounded weights in float32, ${rows.join(" × ")} tokens`, async () => {
          const [half, single] = [await loaded("float32", dtype), await rounded(dtype)];
          expect(difference(await logitsOf(half, rows), await logitsOf(single, rows))).toBeLessThan(1e-6);
          for (const model of [half, single]) model.dispose();
        });
      }

      test(`${dtype} gives the losses of the rounded weights, which differ from the exact ones`, async () => {
        const models = [await loaded("float32", dtype), await rounded(dtype), await loaded("float32")] as const;
        const windows = ids(2, 13);
        const losses = await Promise.all(models.map((model) => taken(languageNll(model, windows))));
        const [half, single, exact] = losses as [Float32Array, Float32Array, Float32Array];
        expect(difference(half, single)).toBeLessThan(1e-6);
        expect(difference(half, exact)).toBeGreaterThan(1e-5);
        for (const model of models) model.dispose();
      });

      test(`${dtype} generates the text of the rounded weights`, async () => {
        const [half, single] = [await loaded("float32", dtype), await rounded(dtype)];
        const text = async (model: Model<Gpt2Config>) =>
          (await Array.fromAsync(generateTokens(model, [3, 1], { tokens: 8, temperature: 0 }))).map((event) => ({
            ...event,
          }));
        expect(await text(half)).toEqual(await text(single));
        for (const model of [half, single]) model.dispose();
      });

      test(`a model loaded as ${dtype} is saved with its rounded weights`, async () => {
        const [half, single] = [await loaded("float32", dtype), await rounded(dtype)];
        await saveModelNow(half, folder(`saved-${dtype}`));
        const again = await loaded(`saved-${dtype}`);
        expect(await logitsOf(again, [1, 9])).toEqual(await logitsOf(single, [1, 9]));
        for (const model of [half, single, again]) model.dispose();
      });
    }

    test("only matrices are half: weights, embeddings and the head", async () => {
      const model = await loaded("float32", "bfloat16");
      const types = heldTypes(model);
      for (const [name, variable] of model.parameters) {
        expect([name, types[name]]).toEqual([name, variable.rank === 2 ? "bfloat16" : "float32"]);
        expect(variable.dtype).toBe("float32");
        expect(variable.trainable).toBe(variable.rank !== 2);
      }
      model.dispose();
    });

    test("factors of structured layers stay float32", async () => {
      const model = await loaded("structured", "bfloat16");
      const { "h.0.mlp.c_fc.left": left, "h.1.mlp.c_fc.weight": weight } = heldTypes(model);
      expect([left, weight]).toEqual(["float32", "bfloat16"]);
      model.dispose();
    });

    test("auto keeps the type of the file", async () => {
      for (const name of ["float32", ...HALVES]) {
        const model = await loaded(name, "auto");
        expect(heldTypes(model)["lm_head.weight"]).toBe(name);
        model.dispose();
      }
    });
  });
}

forEachEngine("weights in half precision", (_, { name }) => {
  if (name === "torch") return;

  test("are refused in one line, before anything is read", async () => {
    const message = `weights cannot be "bfloat16" on engine "${tf.getBackend()}", which holds them in float32; use --dtype float32, or engine torch`;
    await expect(loaded("float32", "bfloat16")).rejects.toThrow(message);
    await expect(loaded("none", "bfloat16")).rejects.toThrow(message);
  });

  test("auto is float32, with the values of the file", async () => {
    const [auto, single] = [await loaded("bfloat16", "auto"), await loaded("bfloat16")];
    const value = (model: Model<Gpt2Config>) => model.parameter("wte.weight").data();
    expect(await value(auto)).toEqual(await value(single));
    for (const model of [auto, single]) model.dispose();
  });
});
