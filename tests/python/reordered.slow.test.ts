// Reordered models in transformers: it reads the written folders, and computes what it computes of the models before.

import { expect, test } from "bun:test";
import path from "node:path";
import { symmetriesOf } from "../../workbench/architectures/symmetry.ts";
import { permuteModel } from "../../workbench/compress/reorder/permute.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { distance, MODELS, randomOrder } from "../compress/reorder/cases.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

const python = pythonWith("torch", "transformers", "safetensors");
const at = temporaryFolder();

/** Models that transformers has, with config.json as it reads it. */
const KNOWN = [
  "gpt2, tied",
  "llama, tied, biases",
  "mistral",
  "qwen2",
  "qwen3",
  "smollm3, a block without positions, biases",
  "vit, hugging face",
  "resnet, hugging face",
];

test.skipIf(!python)(
  "reordered models have the same logits in transformers",
  async () => {
    await openEngine({ engine: "cpu" });
    const folders: string[] = [];
    for (const name of KNOWN) {
      const model = (MODELS[name] as (typeof MODELS)[string])();
      const [before, after] = ["before", "after"].map((when) => at(`${name} ${when}`)) as [string, string];
      await saveModelNow(model, before);
      const all = symmetriesOf(model.architecture, model.config);
      permuteModel(
        model,
        all.map((symmetry, i) => ({ symmetry, order: randomOrder(symmetry, i + 1) })),
      );
      await saveModelNow(model, after);
      model.dispose();
      folders.push(before, after);
    }
    const script = path.join(import.meta.dir, "dense_logits.py");
    const found = await askPython<number[][]>(python, script, { args: folders, env: { HF_HUB_OFFLINE: "1" } });
    for (const [i, name] of KNOWN.entries()) {
      const [before, after] = [found[2 * i], found[2 * i + 1]].map((values) => Float32Array.from(values ?? []));
      expect(before?.length, name).toBeGreaterThan(9);
      expect(distance(after as Float32Array, before as Float32Array), name).toBeLessThan(2e-5);
    }
  },
  PATIENCE,
);
