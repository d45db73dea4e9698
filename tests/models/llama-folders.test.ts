// Models of Llama's families saved and loaded: transformers' names, the family that they were, and the same outputs
// however layers are held, in every form.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { convert, exportDense, type PlanOptions, planConversion } from "../../workbench/compress/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { forInference, type Model, modelCounts, saveModelNow } from "../../workbench/models/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { LLAMAS, SMALL_LLAMA, smallLlama } from "./small-llama.ts";
import { ids, taken } from "./tiny.ts";

const folder = temporaryFolder();

const logits = (model: Model): Promise<Float32Array> => taken(tf.tidy(() => languageLogits(model, ids(2, 11))));

const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const scale = Math.max(...Array.from(a, Math.abs));
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number)))) / scale;
};

const PLANS: Record<string, PlanOptions> = {
  ...Object.fromEntries(
    ["gblr", "lowrank", "pifa", "btt", "monarch", "block-low-rank", "blast", "block-sparse"].map((structure) => [
      structure,
      { structure, budget: 0.6 } as PlanOptions,
    ]),
  ),
  "lowrank by singular values": { structure: "lowrank", budget: 0.5, allocation: "global" },
  "gblr of some layers": { structure: "gblr", budget: 0.5, layers: ["k_proj", "v_proj", "mlp.down_proj"] },
};

const LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

forEachEngine("folders of Llama's families", (_, { label, name: engine }) => {
  const at = (...names: string[]) => folder(...[label, ...names].map((name) => name.replace(/\W+/g, "-")));
  const fields = (...names: string[]) => JSON.parse(readFileSync(`${at(...names)}/config.json`, "utf8"));

  for (const [i, [name, settings]] of Object.entries(LLAMAS).entries()) {
    test(`${name}: a dense model has transformers' names, and comes back bit for bit`, async () => {
      const model = smallLlama(settings) as Model;
      const expected = await logits(model);
      await saveModelNow(model, at(name, "dense"));
      const tensors = await readSafetensors(`${at(name, "dense")}/model.safetensors`);
      const isTied = (model.config as { tiedHead: boolean }).tiedHead;
      expect(tensors.has("lm_head.weight")).toBe(!isTied);
      for (const stored of tensors.keys()) expect(stored).toMatch(/^(model\..+|lm_head\.weight)$/);
      const back = await loadModelNow(at(name, "dense"));
      expect(await logits(back)).toEqual(expected);
      expect(back.json).toMatchObject({ ...SMALL_LLAMA, ...settings });
      expect(back.json.architectures).toEqual([expect.stringMatching(/^(Llama|Mistral|Qwen[23]|SmolLM3)ForCausalLM$/)]);
      await saveModelNow(back, at(name, "again"));
      expect(await readSafetensors(`${at(name, "again")}/model.safetensors`)).toEqual(tensors);
      for (const each of [model, back]) each.dispose();
    });

    // Each family in some ways, each way with some families, fewer of them on the slower engines.
    const every = engine === "torch" ? 3 : 5;
    for (const [what, options] of Object.entries(PLANS).filter((_, j) => (i + j) % every === 0)) {
      test(`${name}: ${what} gives the same in every form, and is dense again`, async () => {
        const model = smallLlama(settings) as Model;
        const plan = await planConversion(model, options);
        const planned = new Set(plan.layers.map((layer) => layer.name.replace(/^.*\./, "")));
        if (!options.layers) expect(planned).toEqual(new Set(LAYERS));
        for await (const _ of convert(model, plan));
        const before = await logits(model);
        model.masks.mode = "eval";
        const expected = await logits(model);
        const counts = await modelCounts(model);
        await saveModelNow(model, at(name, what), { trainable: true });
        expect(fields(name, what)).toMatchObject({
          model_type: settings.model_type,
          gblr: { structure: options.structure },
        });
        const trainable = await loadModelNow(at(name, what), { form: "trainable" });
        expect(await logits(trainable)).toEqual(before);
        const packed = await loadModelNow(at(name, what));
        expect(difference(expected, await logits(packed))).toBeLessThan(1e-5);
        expect(await modelCounts(packed)).toEqual(counts);
        const view = await forInference(packed);
        expect(difference(expected, await logits(view))).toBeLessThan(1e-5);
        view.dispose();
        exportDense(packed);
        await saveModelNow(packed, at(name, what, "dense"));
        const dense = await loadModelNow(at(name, what, "dense"));
        expect(difference(expected, await logits(dense))).toBeLessThan(1e-5);
        expect([...dense.parameters.keys()]).toEqual([...smallLlama(settings).parameters.keys()]);
        const { architectures } = fields(name, "dense");
        expect(fields(name, what, "dense")).toMatchObject({ model_type: settings.model_type, architectures });
        expect(dense.json.gblr).toBeUndefined();
        for (const each of [model, trainable, packed, dense]) each.dispose();
      });
    }
  }
});
