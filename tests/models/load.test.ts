// Checkpoints of GPT-2 as they are found: every prefix, type and padding gives one model; what is wrong with one is said
// in one line that names the tensor or the field.

import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { fromFloat32, type StoredTensor, writeModel, writeSafetensors } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Gpt2Config, type LoadEvent, loadModel, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { ids, livelier, structured, taken, tinyGpt2 } from "./tiny.ts";

const folder = temporaryFolder();
const logits = (model: Model<Gpt2Config>) => taken(tf.tidy(() => languageLogits(model, ids(1, 9))));

let expected: Float32Array;
let stored: Map<string, StoredTensor>;
let config: Record<string, unknown>;

beforeAll(async () => {
  await openEngine();
  const model = livelier(tinyGpt2());
  expected = await logits(model);
  await saveModelNow(model, folder("model"));
  stored = await readSafetensors(folder("model", "model.safetensors"));
  config = JSON.parse(readFileSync(folder("model", "config.json"), "utf8"));
  model.dispose();
});

type Change = (tensors: Map<string, StoredTensor>) => Map<string, StoredTensor> | undefined;

/** A folder with the model's tensors and config, changed. */
async function written(name: string, change: Change = () => undefined, fields: Record<string, unknown> = {}) {
  mkdirSync(folder(name));
  writeFileSync(folder(name, "config.json"), JSON.stringify({ ...config, ...fields }));
  const tensors = change(new Map(stored)) ?? undefined;
  await writeSafetensors(folder(name, "model.safetensors"), sourcesOf(tensors ?? stored));
  return folder(name);
}

const renamed =
  (name: (old: string) => string): Change =>
  (tensors) =>
    new Map([...tensors].map(([old, tensor]) => [name(old), tensor]));

const as =
  (dtype: "F16" | "BF16"): Change =>
  (tensors) =>
    new Map([...tensors].map(([name, { shape, data }]) => [name, fromFloat32(data as Float32Array, { dtype, shape })]));

async function furthest(path: string): Promise<number> {
  const model = (await loadModelNow(path)) as Model<Gpt2Config>;
  const values = await logits(model);
  model.dispose();
  return Math.max(...values.map((value, i) => Math.abs(value - (expected[i] as number))));
}

describe("the same model, whatever its checkpoint looks like:", () => {
  for (const prefix of ["", "transformer.", "model.transformer."]) {
    test(`names after "${prefix}"`, async () => {
      expect(
        await furthest(
          await written(
            `prefix-${prefix}`,
            renamed((name) => prefix + name),
          ),
        ),
      ).toBe(0);
    });

    test(`a tied head that is written out beside "${prefix}"`, async () => {
      const path = await written(`head-${prefix}`, (tensors) => {
        const all = renamed((name) => prefix + name)(tensors) as Map<string, StoredTensor>;
        return all.set(`${prefix.replace("transformer.", "")}lm_head.weight`, stored.get("wte.weight") as StoredTensor);
      });
      expect(await furthest(path)).toBe(0);
    });
  }

  test("half precision, rounded as the file has it", async () => {
    expect(await furthest(await written("f16", as("F16")))).toBeLessThan(0.05);
    const bfloat16 = await furthest(await written("bf16", as("BF16")));
    expect(bfloat16).toBeGreaterThan(0);
    expect(bfloat16).toBeLessThan(0.5);
  });

  test("shards", async () => {
    const path = await written("shards");
    rmSync(folder("shards", "model.safetensors"));
    for await (const _ of writeModel(path, sourcesOf(stored), { maxShardBytes: 5000 }));
    expect(await furthest(path)).toBe(0);
  });

  test("causal masks of older checkpoints", async () => {
    const path = await written("masks", (tensors) => {
      const mask: StoredTensor = { dtype: "U8", shape: [1, 1, 12, 12], data: new Uint8Array(144) };
      const filling: StoredTensor = { dtype: "F32", shape: [], data: Float32Array.of(-10000) };
      return tensors.set("h.0.attn.bias", mask).set("h.0.attn.masked_bias", filling);
    });
    expect(await furthest(path)).toBe(0);
  });

  test("a vocabulary padded to a rounder size, whatever the padding holds", async () => {
    for (const [name, head] of [
      ["padded", false],
      ["padded-head", true],
    ] as const) {
      const pad = (tensor: StoredTensor): StoredTensor => {
        const data = new Float32Array(64 * 16).fill(100);
        data.set(tensor.data as Float32Array);
        return { dtype: "F32", shape: [64, 16], data };
      };
      const table = pad(stored.get("wte.weight") as StoredTensor);
      const change: Change = (tensors) => {
        tensors.set("wte.weight", table);
        return head ? tensors.set("lm_head.weight", table) : tensors;
      };
      expect(await furthest(await written(name, change, { tie_word_embeddings: !head }))).toBe(0);
    }
  });

  test("a config in the words of other architectures' files", async () => {
    const { n_positions, ...rest } = config;
    const path = await written("n-ctx");
    writeFileSync(folder("n-ctx", "config.json"), JSON.stringify({ ...rest, n_ctx: n_positions, n_inner: null }));
    expect(await furthest(path)).toBe(0);
  });
});

test("events tell how far the load is, and end with the model", async () => {
  const events: LoadEvent[] = await Array.fromAsync(loadModel(folder("model")));
  const [first] = events;
  const read = events.flatMap((event) => (event.kind === "progress" ? [event.bytes] : []));
  expect(first).toEqual({ kind: "opened", tensors: stored.size, bytes: read.reduce((sum, bytes) => sum + bytes, 0) });
  expect(events.at(-1)?.kind).toBe("loaded");
});

describe("one line says that", () => {
  const refused = async (path: string, message: RegExp, form: "auto" | "trainable" | "packed" = "auto") => {
    const before = tf.memory().numTensors;
    const error = await loadModelNow(path, { form }).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(error?.message).toMatch(message);
    expect(error?.message).not.toContain("\n");
    expect(tf.memory().numTensors).toBe(before);
  };

  test("a tensor is missing, too much or misshapen", async () => {
    const without: Change = (tensors) => new Map([...tensors].filter(([name]) => name !== "h.1.ln_2.bias"));
    await refused(await written("missing", without), /tensor "h.1.ln_2.bias": is missing, must be \(16\)/);
    const extra: Change = (tensors) => tensors.set("h.7.ln_1.bias", tensors.get("ln_f.bias") as StoredTensor);
    await refused(await written("extra", extra), /tensor "h.7.ln_1.bias": is not a parameter of this gpt2/);
    await refused(
      await written("misshapen", undefined, { n_inner: 48 }),
      /tensor "h.0.mlp.c_fc.weight": must be float \(16, 48\), is F32 \(16, 64\)/,
    );
    await refused(
      await written("short", undefined, { vocab_size: 41 }),
      /tensor "wte.weight": must be float \(41, 16\), is F32 \(40, 16\)/,
    );
    await refused(await written("untied", undefined, { tie_word_embeddings: false }), /"lm_head.weight": is missing/);
  });

  test("a head that is another than the embedding it should be tied to", async () => {
    const { shape, data, dtype } = stored.get("wte.weight") as StoredTensor;
    const other = Float32Array.from(data as Float32Array);
    other[other.length - 1] = (other.at(-1) as number) + 1;
    const withHead = (head: StoredTensor) => (tensors: Map<string, StoredTensor>) =>
      tensors.set("lm_head.weight", head);
    const message = /"lm_head.weight": has other values than wte.weight, although .* set tie_word_embeddings to false/;
    await refused(await written("other-head", withHead({ dtype, shape, data: other } as StoredTensor)), message);
    const half = fromFloat32(data as Float32Array, { dtype: "BF16", shape });
    await refused(await written("rounded-head", withHead(half)), message);
  });

  test("a config is of another architecture, or makes no sense", async () => {
    await refused(await written("bert", undefined, { model_type: "bert" }), /model_type is "bert", there is .*gpt2/);
    await refused(await written("heads", undefined, { n_head: 3 }), /n_head must divide n_embd 16, is 3/);
    await refused(await written("none", undefined, { n_layer: undefined }), /config.json: n_layer is missing/);
    await refused(await written("act", undefined, { activation_function: "mish" }), /activation_function is "mish"/);
    await refused(await written("cross", undefined, { add_cross_attention: true }), /add_cross_attention is true/);
    await refused(await written("eps", undefined, { layer_norm_epsilon: 0 }), /layer_norm_epsilon is 0/);
  });

  test("there is no model", async () => {
    await refused(folder("nowhere"), /cannot be opened/);
    mkdirSync(folder("no-tensors"));
    cpSync(folder("model", "config.json"), folder("no-tensors", "config.json"));
    await refused(folder("no-tensors"), /has neither model.safetensors, nor/);
    mkdirSync(folder("no-config"));
    cpSync(folder("model", "model.safetensors"), folder("no-config", "model.safetensors"));
    await refused(folder("no-config"), /config.json: cannot be opened/);
    mkdirSync(folder("no-json"));
    writeFileSync(folder("no-json", "config.json"), "[1]");
    await refused(folder("no-json"), /config.json: is not a JSON object/);
  });

  test("a structured layer is not of its architecture's size, or not in the form that is asked", async () => {
    const model = await structured(tinyGpt2(), ["h.0.mlp.c_fc"], "gblr");
    await saveModelNow(model, folder("gblr"), { trainable: true });
    await saveModelNow(await structured(tinyGpt2({ n_inner: 32 }), ["h.0.mlp.c_fc"], "gblr"), folder("narrow"));
    const narrow = JSON.parse(readFileSync(folder("narrow", "config.json"), "utf8"));
    writeFileSync(folder("narrow", "config.json"), JSON.stringify({ ...narrow, n_inner: 64 }));
    await refused(folder("narrow"), /"h.0.mlp.c_fc": must have n_in × n_out = 16 × 64, has n_in × n_out = 16 × 32/);
    renameSync(folder("gblr", "trainable.safetensors"), folder("gblr", "kept"));
    await refused(folder("gblr"), /is packed and cannot be trained; there is no trainable.safetensors/, "trainable");
    renameSync(folder("gblr", "kept"), folder("gblr", "model.safetensors"));
    await refused(folder("gblr"), /tensor "wte.weight": is missing/);
    model.dispose();
  });
});
