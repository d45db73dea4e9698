// Language models as ONNX files give the workbench's logits in onnxruntime: every family, every form of layers, any
// batch and length, with and without keys and values of earlier tokens.

import { beforeAll, describe, expect, test } from "bun:test";
import type { PlanOptions } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import type { Model } from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { LLAMAS, smallLlama } from "../../models/small-llama.ts";
import { livelier, tinyGpt2 } from "../../models/tiny.ts";
import { PATIENCE } from "../../python/python.ts";
import { converted, expectSame, exported, fedIds, hasOnnx, logitsOfIds, runOnnx } from "./runtime.ts";

const folder = temporaryFolder();
const LENGTH = 11;
const VOCABULARY = 40;

const scaled = (rope_parameters: object) => ({ model_type: "llama", rope_parameters });

const MODELS: Readonly<Record<string, () => Model>> = {
  "GPT-2": () => livelier(tinyGpt2()) as Model,
  "GPT-2 with other settings": () =>
    livelier(
      tinyGpt2({ activation_function: "relu", scale_attn_by_inverse_layer_idx: true, tie_word_embeddings: false }),
    ) as Model,
  ...Object.fromEntries(Object.entries(LLAMAS).map(([name, fields]) => [name, () => smallLlama(fields) as Model])),
  "Llama, half of each head rotated": () => smallLlama({ model_type: "llama", partial_rotary_factor: 0.5 }) as Model,
  "Llama with yarn": () =>
    smallLlama(scaled({ rope_type: "yarn", factor: 4, original_max_position_embeddings: 4 })) as Model,
  "Llama with as many heads of keys": () => smallLlama({ model_type: "llama", num_key_value_heads: 4 }) as Model,
};

const FORMS: Readonly<Record<string, PlanOptions>> = {
  gblr: { structure: "gblr", budget: 0.6 },
  "gblr of narrow blocks": { structure: "gblr", widths: "splr0.25" },
  lowrank: { structure: "lowrank", budget: 0.5 },
  pifa: { structure: "pifa", budget: 0.6 },
  unstructured: { structure: "unstructured", budget: 0.5 },
  "semi-structured": { structure: "semi-structured", budget: 0.5 },
};

const fileOf = (name: string) => folder(`${name.replace(/\W+/g, "-")}.onnx`);

describe("language models as ONNX", () => {
  beforeAll(() => openEngine({ engine: "cpu" }));

  test.skipIf(!hasOnnx).each(Object.entries(MODELS))(
    "%s: the logits for any batch and length, also of tokens in pieces, and with padding",
    async (name, make) => {
      const source = make();
      const [plain, cached] = [fileOf(name), fileOf(`${name} with past`)];
      await exported(source, plain);
      await exported(source, cached, { withPast: true });
      const ids = fedIds(2, LENGTH);
      const padded = { ...fedIds(1, LENGTH), shape: [1, LENGTH + 3], data: [0, 0, 0, ...fedIds(1, LENGTH).data] };
      const [whole, pieces] = await runOnnx(
        { file: plain, runs: [{ inputs: { input_ids: ids } }, { inputs: { input_ids: fedIds(3, 4) } }] },
        {
          file: cached,
          runs: [
            { ids, lengths: [LENGTH], padding: [0, 0] },
            { ids, lengths: [5, 1, 3, 1, 1], padding: [0, 0] },
            { ids: padded, lengths: [6, LENGTH - 3], padding: [3] },
          ],
        },
      );
      const expected = await logitsOfIds(source, 2, LENGTH);
      expectSame(whole?.results[0], [2, LENGTH, VOCABULARY], expected);
      expectSame(whole?.results[1], [3, 4, VOCABULARY], await logitsOfIds(source, 3, 4));
      expectSame(pieces?.results[0], [2, LENGTH, VOCABULARY], expected);
      expectSame(pieces?.results[1], [2, LENGTH, VOCABULARY], expected);
      const { data = [] } = pieces?.results[2] ?? {};
      const behind = { shape: [1, LENGTH, VOCABULARY], data: data.slice(3 * VOCABULARY) };
      expectSame(behind, [1, LENGTH, VOCABULARY], await logitsOfIds(source, 1, LENGTH));
      source.dispose();
    },
    PATIENCE,
  );

  test.skipIf(!hasOnnx)(
    "Llama with dynamic scaling: frequencies follow the length of the sequence",
    async () => {
      const scaling = { rope_type: "dynamic", factor: 2 };
      const source = smallLlama({ ...scaled(scaling), max_position_embeddings: 6 }) as Model;
      const file = fileOf("dynamic");
      await exported(source, file, { withPast: true });
      // Keys of earlier pieces keep the frequencies of their length, so that pieces are within the trained length.
      const [answer] = await runOnnx({
        file,
        runs: [
          { ids: fedIds(2, LENGTH), lengths: [LENGTH], padding: [0, 0] },
          { ids: fedIds(2, 6), lengths: [4, 2], padding: [0, 0] },
        ],
      });
      expectSame(answer?.results[0], [2, LENGTH, VOCABULARY], await logitsOfIds(source, 2, LENGTH));
      expectSame(answer?.results[1], [2, 6, VOCABULARY], await logitsOfIds(source, 2, 6));
      source.dispose();
    },
    PATIENCE,
  );

  test.skipIf(!hasOnnx)(
    "inputs and outputs have the names of optimum, and the file says what it is",
    async () => {
      const source = smallLlama() as Model;
      const [plain, cached] = [fileOf("names"), fileOf("names with past")];
      await exported(source, plain);
      await exported(source, cached, { withPast: true });
      const [whole, pieces] = await runOnnx({ file: plain, runs: [] }, { file: cached, runs: [] });
      expect(whole).toMatchObject({
        inputs: { input_ids: ["batch_size", "sequence_length"] },
        outputs: { logits: ["batch_size", "sequence_length", VOCABULARY] },
        opset: { "": 17 },
        domains: [""],
        producer: ["gblr", "1.2.3"],
        metadata: { model_type: "llama" },
      });
      const past = ["batch_size", 2, "past_sequence_length", 8];
      const present = ["batch_size", 2, "total_sequence_length", 8];
      expect(pieces?.inputs).toEqual({
        input_ids: ["batch_size", "sequence_length"],
        attention_mask: ["batch_size", "total_sequence_length"],
        "past_key_values.0.key": past,
        "past_key_values.0.value": past,
        "past_key_values.1.key": past,
        "past_key_values.1.value": past,
      });
      expect(Object.entries(pieces?.outputs ?? {})).toEqual([
        ["logits", ["batch_size", "sequence_length", VOCABULARY]],
        ["present.0.key", present],
        ["present.0.value", present],
        ["present.1.key", present],
        ["present.1.value", present],
      ]);
      source.dispose();
    },
    PATIENCE,
  );
});

forEachEngine("language models with structured layers as ONNX", (_, { label }) => {
  test.skipIf(!hasOnnx)(
    "have the same logits in every form",
    async () => {
      const expected: Float32Array[] = [];
      for (const [name, plan] of Object.entries(FORMS)) {
        const source = smallLlama(LLAMAS.Qwen2) as Model;
        await converted(source, plan);
        await exported(source, fileOf(`${label} ${name}`));
        expected.push(await logitsOfIds(source, 2, LENGTH));
        source.dispose();
      }
      const runs = [{ inputs: { input_ids: fedIds(2, LENGTH) } }];
      const answers = await runOnnx(...Object.keys(FORMS).map((name) => ({ file: fileOf(`${label} ${name}`), runs })));
      for (const [i, { results, run }] of answers.entries()) {
        expectSame(results[0], [2, LENGTH, VOCABULARY], expected[i] as Float32Array);
        // The matrices of layers are computed at load.
        for (const operator of ["ScatterElements", "EyeLike", "CumSum"]) expect(run).not.toContain(operator);
      }
    },
    PATIENCE,
  );
});
