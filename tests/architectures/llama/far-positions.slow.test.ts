// Positions in the thousands, where a float32 angle is exact to 5e-4 only: the logits of a whole text of 8 064 tokens
// and of its last tokens by a cache must be transformers', which shows that frequencies and angles are rounded alike.
// Skipped where no Python has transformers.

import { beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { keyValueCache } from "../../../workbench/architectures/parts/cache.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { ENGINES } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { taken } from "../../models/tiny.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";

const python = pythonWith("torch", "transformers", "safetensors");
const torch = ENGINES.find(({ name }) => name === "torch");
const at = temporaryFolder();

const TOKENS = 8064;
const LAST = 64;
const SCALINGS: Record<string, Record<string, unknown>> = {
  "base 10 000": { rope_type: "default", rope_theta: 10_000 },
  llama3: {
    ...{ rope_type: "llama3", rope_theta: 500_000, factor: 32, low_freq_factor: 1, high_freq_factor: 4 },
    original_max_position_embeddings: 2048,
  },
  yarn: { rope_type: "yarn", rope_theta: 1_000_000, factor: 4, original_max_position_embeddings: 4096 },
  // Beyond 4 096 positions all frequencies change.
  dynamic: { rope_type: "dynamic", rope_theta: 10_000, factor: 4 },
};

const CONFIG = {
  ...{ vocab_size: 64, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
  ...{ num_key_value_heads: 1, head_dim: 64, bos_token_id: 1, eos_token_id: 2 },
};

/** The weights are such that a head looks at few tokens: at far positions a wrong angle then changes the result. */
const MAKE = `
import json, sys
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig

asked = json.load(sys.stdin)
ids = torch.tensor([asked["ids"]])
for name, config in asked["models"].items():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**config), attn_implementation="sdpa").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
        logits = model(ids, use_cache=False).logits[:, -asked["last"]:]
    folder = f"{asked['out']}/{name}"
    model.save_pretrained(folder)
    save_file({"logits": logits.contiguous()}, f"{folder}/expected.bin")
print("{}")
`;

const IDS = Array.from({ length: TOKENS }, (_, i) => (i * i + 5 * i + Math.trunc(i / 7)) % CONFIG.vocab_size);

describe.skipIf(!python || !torch)("at position 8 000", () => {
  beforeAll(async () => {
    const models = Object.fromEntries(
      Object.entries(SCALINGS).map(([name, rope_parameters]) => {
        const max_position_embeddings = name === "dynamic" ? 4096 : 8192;
        return [name, { ...CONFIG, max_position_embeddings, rope_parameters }];
      }),
    );
    const input = JSON.stringify({ ids: IDS, last: LAST, models, out: at() });
    await askPython(python, MAKE, { input, env: { HF_HUB_OFFLINE: "1" } });
    await openEngine(torch?.options);
  }, PATIENCE);

  for (const name of Object.keys(SCALINGS)) {
    test(`logits are those of transformers: ${name}`, async () => {
      const { data } = (await readSafetensors(at(name, "expected.bin"))).get("logits") as { data: Float32Array };
      const model = await loadModelNow(at(name));
      const logits = tf.tidy(() => {
        const all = languageLogits(model, tf.tensor2d([IDS], undefined, "int32"));
        return all.slice([0, TOKENS - LAST, 0], [1, LAST, CONFIG.vocab_size]);
      });
      expect(difference(await taken(logits), data)).toBeLessThan(1e-4);
      if (name !== "dynamic") {
        const cache = keyValueCache({ capacity: TOKENS });
        const step = (from: number, to?: number) =>
          taken(
            tf.tidy(() => languageLogits(model, tf.tensor2d([IDS.slice(from, to)], undefined, "int32"), { cache })),
          );
        await step(0, TOKENS - LAST);
        expect(difference(await step(TOKENS - LAST), data)).toBeLessThan(1e-4);
        cache.dispose();
      }
      model.dispose();
    });
  }
});

/** The largest difference over the largest value. */
function difference(values: Float32Array, expected: Float32Array): number {
  const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (values[i] as number))), 0);
  return worst / expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
