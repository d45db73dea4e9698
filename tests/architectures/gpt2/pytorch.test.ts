// A small GPT-2 in every variant of its config against a plain one in PyTorch, float64: logits, losses and gradients.
// Skipped where no Python has torch.

import { expect, test } from "bun:test";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import {
  type Gpt2Config,
  languageLoss,
  languageNll,
  type Model,
  saveModelNow,
} from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { ids, livelier, taken, tinyGpt2 } from "../../models/tiny.ts";
import { askPython, pythonWith } from "../../python/python.ts";

const python = pythonWith("torch");
const folder = temporaryFolder();

interface Reference {
  logits: number[];
  nll: number[];
  loss: number;
  gradients: Record<string, number[]>;
}

const VARIANTS: Record<string, Record<string, unknown>> = {
  "as published": {},
  "own head, wide middle, another epsilon": { tie_word_embeddings: false, n_inner: 24, layer_norm_epsilon: 1e-3 },
  "unscaled attention, exact gelu": { scale_attn_weights: false, activation_function: "gelu" },
  "attention scaled by block, relu": { scale_attn_by_inverse_layer_idx: true, activation_function: "relu" },
  silu: { activation_function: "silu" },
  "tanh, three heads of 4": { activation_function: "tanh", n_embd: 12, n_head: 3 },
};

const known = new Map<string, Promise<Reference>>();

async function askPyTorch(name: string, model: Model<Gpt2Config>, gradients: string[]): Promise<Reference> {
  const at = folder(name.replace(/\W+/g, "-"));
  await saveModelNow(model, at);
  const windows = await tf.tidy(() => ids(2, 10)).array();
  const input = JSON.stringify({ windows, gradients });
  return askPython(python, path.join(import.meta.dir, "reference.py"), { args: [at], input });
}

function expectNear(values: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(values.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...expected.map((value, i) => Math.abs(value - (values[i] as number))));
  expect(worst / scale).toBeLessThan(tolerance);
}

forEachEngine("GPT-2 and PyTorch's", () => {
  for (const [name, settings] of Object.entries(VARIANTS)) {
    test.skipIf(!python)(`agree: ${name}`, async () => {
      const model = livelier(tinyGpt2(settings));
      // The same noise on every engine, so that PyTorch is asked once.
      const gradients = ["wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_proj.bias", "ln_f.weight"];
      if (!model.config.tiedHead) gradients.push("lm_head.weight");
      if (!known.has(name)) known.set(name, askPyTorch(name, model, gradients));
      const expected = (await known.get(name)) as Reference;
      const windows = ids(2, 10);
      expectNear(
        await taken(tf.tidy(() => languageLogits(model, windows.slice([0, 0], [2, 9])))),
        expected.logits,
        1e-4,
      );
      expectNear(await taken(languageNll(model, windows)), expected.nll, 1e-4);
      const parameters = gradients.map((each) => model.parameter(each));
      const { value, grads } = tf.variableGrads(() => languageLoss(model, windows), parameters);
      expectNear(await taken(value), [expected.loss], 1e-5);
      for (const [i, each] of gradients.entries()) {
        const gradient = grads[(parameters[i] as tf.Variable).name] as tf.Tensor;
        expectNear(await taken(gradient), expected.gradients[each] as number[], 1e-4);
      }
      windows.dispose();
      model.dispose();
    });
  }
});
