// Folders of Llama's families that we wrote, layers held in every structure, read by PyTorch with the Python files in them:
// logits, gradients and generated text must be ours, with torch alone and under transformers.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, readdirSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { type StoredTensor, writeSafetensors } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { sourcesOf } from "../../../hub/safetensors/write.ts";
import { generateTokens } from "../../../workbench/architectures/parts/generate.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { languageLoss, saveModelNow } from "../../../workbench/models/index.ts";
import { ENGINES } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python.ts";
import { IDS, logitsOf } from "../small-models.ts";
import { FAMILIES, smallLlama } from "./small-llamas.ts";

const torch = pythonWith("torch");
const transformers = pythonWith("torch", "transformers");
const at = temporaryFolder();
const NAMES = Object.keys(FAMILIES);
const CLASSES = ["Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3"].map((title) => `Gblr${title}ForCausalLM`);
const ENV = { HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface") };

interface Answer {
  logits: number[];
  trains?: string[];
  class?: string;
  cached?: number[][];
  whole?: number[][];
  again?: number[];
}

interface Truth {
  logits: Float32Array;
  /** greedy continuations of the first four tokens, by their ids */
  texts: number[][];
  /** by the name of the parameter */
  gradients: Map<string, Float32Array>;
}

const truths = new Map<string, Truth>();

// The folder does not depend on the engine that wrote it, so one engine is enough.
beforeAll(async () => {
  if (!torch) return;
  await openEngine(ENGINES[0]?.options);
  for (const name of NAMES) {
    // With a sigma, masks are smooth and have other gradients.
    const model = await smallLlama(name, name === "qwen3" ? { sigma: 6 } : {});
    await saveModelNow(model, at(name), { trainable: true });
    await saveModelNow(model, at(`${name}-sharded`), { maxShardBytes: 8000 });
    model.dispose();
    truths.set(name, await truthOf(at(name)));
  }
}, PATIENCE);

async function truthOf(folder: string): Promise<Truth> {
  const model = await loadModelNow(folder, { form: "packed" });
  const logits = await logitsOf(model);
  const texts: number[][] = [];
  for (const ids of IDS) {
    const text = ids.slice(0, 4);
    const options = { tokens: 4, temperature: 0, endOfText: [] };
    for await (const event of generateTokens(model, text.slice(), options)) {
      if (event.kind === "token") text.push(event.id);
    }
    texts.push(text);
  }
  model.dispose();
  const trained = await loadModelNow(folder, { form: "trainable" });
  const loss = () => languageLoss(trained, tf.tensor2d(IDS, undefined, "int32"));
  const { value, grads } = tf.variableGrads(loss as () => tf.Scalar);
  const gradients = new Map<string, Float32Array>();
  for (const [name, { name: variable, trainable }] of trained.parameters) {
    if (trainable) gradients.set(name, (await grads[variable]?.data()) as Float32Array);
  }
  tf.dispose([value, grads]);
  trained.dispose();
  return { logits, texts, gradients };
}

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** The largest difference, relative to the largest value or `least`. */
const deviation = (values: ArrayLike<number>, truth: ArrayLike<number>, least = 0): number =>
  largest(Array.from(truth, (value, i) => value - (values[i] as number))) / Math.max(largest(truth), least);

function expectLogits(name: string, logits: readonly number[] | undefined): void {
  const truth = truths.get(name)?.logits as Float32Array;
  expect(logits?.length).toBe(truth.length);
  expect(largest(truth)).toBeGreaterThan(1);
  expect(deviation(logits as number[], truth)).toBeLessThan(1e-5);
}

const ask = (python: string | undefined, cases: string[]): Promise<Answer[]> =>
  askPython(python, "logits.py", { args: [JSON.stringify(IDS), ...cases], env: ENV });

const FORMS = [":packed", ":packed:packed", ":trainable", ":auto:packed", "-sharded"];

test.skipIf(!torch)(
  "our logits are those of PyTorch alone: packed both ways, trainable, sharded",
  async () => {
    const answers = await ask(
      torch,
      NAMES.flatMap((name) => FORMS.map((form) => at(name) + form)),
    );
    for (const [i, { logits, trains }] of answers.entries()) {
      expectLogits(NAMES[Math.floor(i / FORMS.length)] as string, logits);
      expect(trains?.includes("lr_weight1")).toBe(FORMS[i % FORMS.length] === ":trainable");
    }
    const shards = readdirSync(at("llama-sharded")).filter((file) => file.endsWith(".safetensors"));
    expect(shards.length).toBeGreaterThan(3);
  },
  PATIENCE,
);

test.skipIf(!torch)(
  "our gradients are those of PyTorch alone, in every structure",
  async () => {
    const options = { args: [SOURCES, ...NAMES.map((name) => at(name))], input: JSON.stringify(IDS) };
    const answers = await askPython<Record<string, number[]>[]>(torch, "llama/gradients.py", options);
    for (const [i, name] of NAMES.entries()) {
      const found = answers[i] as Record<string, number[]>;
      const { gradients } = truths.get(name) as Truth;
      expect(Object.keys(found).sort()).toEqual([...gradients.keys()].sort());
      // The gradient of a bias that changes nothing is rounding.
      const least = 1e-2 * Math.max(...[...gradients.values()].map(largest));
      for (const [parameter, truth] of gradients) {
        const differs = deviation(found[parameter] as number[], truth, least);
        expect({ name, parameter, isNear: differs < 1e-4 }).toEqual({ name, parameter, isNear: true });
      }
    }
  },
  PATIENCE,
);

test.skipIf(!transformers)(
  "our logits and greedy texts are those of transformers, with its cache and without, and of what it saves",
  async () => {
    const names = [...NAMES, "llama"];
    const folders = [...NAMES.map((name) => at(name)), at("llama-sharded")];
    const answers = await ask(
      transformers,
      folders.map((folder) => `${folder}:transformers`),
    );
    for (const [i, answer] of answers.entries()) {
      const name = names[i] as string;
      expectLogits(name, answer.logits);
      expectLogits(name, answer.again);
      expect(answer.class).toBe(CLASSES[NAMES.indexOf(name)]);
      expect(answer.cached).toEqual(truths.get(name)?.texts);
      expect(answer.whole).toEqual(truths.get(name)?.texts);
    }
  },
  PATIENCE,
);

test.skipIf(!torch)(
  "rows that pad the vocabulary, a tied head that is stored and frequencies of old checkpoints change nothing",
  async () => {
    cpSync(at("llama"), at("more"), { recursive: true });
    const file = at("more", "model.safetensors");
    const tensors = await readSafetensors(file);
    const { data, shape } = tensors.get("model.embed_tokens.weight") as StoredTensor & { dtype: "F32" };
    const [rows = 0, width = 0] = shape;
    const padded = Float32Array.from({ length: (rows + 3) * width }, (_, i) => data[i] ?? 7);
    tensors.set("model.embed_tokens.weight", { dtype: "F32", shape: [rows + 3, width], data: padded });
    tensors.set("lm_head.weight", { dtype: "F32", shape: [rows + 3, width], data: padded });
    const frequencies = { dtype: "F32" as const, shape: [3], data: Float32Array.of(1, 2, 3) };
    tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", frequencies);
    await writeSafetensors(file, sourcesOf(tensors));
    const [answer] = await ask(torch, [`${at("more")}:packed`]);
    expectLogits("llama", answer?.logits);
  },
  PATIENCE,
);
