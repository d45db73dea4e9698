// The harm of a layer, compared with finite differences of the loss along the path from the converted to the dense
// matrix; and the sum over all layers, compared with the loss that their conversion adds.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { exportDense } from "../../../workbench/compress/index.ts";
import { crossEntropy } from "../../../workbench/engine/ops/index.ts";
import { copyModel } from "../../../workbench/models/create.ts";
import {
  classifierLogits,
  createModel,
  denseWeight,
  languageLoss,
  llama,
  type Model,
  replaceLayer,
} from "../../../workbench/models/index.ts";
import { layerHarms } from "../../../workbench/pipeline/check/harm.ts";
import { dense } from "../../../workbench/structures/dense.ts";
import { structureNamed } from "../../../workbench/structures/registry.ts";
import { smallResnet } from "../../architectures/small-vision.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { ids, livelier, tinyGpt2 } from "../../models/tiny.ts";

interface Case {
  model(): Model;
  layers: readonly string[];
  structure: string;
  input(): readonly tf.Tensor[];
  loss(model: Model, input: readonly tf.Tensor[]): tf.Scalar;
}

const text = (model: Model, [windows]: readonly tf.Tensor[]) => languageLoss(model, windows as tf.Tensor2D);

const CASES: Record<string, Case> = {
  "GPT-2 with GBLR": {
    model: () => livelier(tinyGpt2()),
    layers: ["h.0.attn.c_attn", "h.0.mlp.c_fc", "h.1.mlp.c_proj"],
    structure: "gblr",
    input: () => [ids(2, 10)],
    loss: text,
  },
  "Llama with Monarch matrices": {
    model: () =>
      livelier(
        createModel(llama, {
          ...{ model_type: "llama", vocab_size: 40, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2 },
          ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 12 },
        }),
      ) as Model,
    layers: ["layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"],
    structure: "monarch",
    input: () => [ids(2, 10)],
    loss: text,
  },
  "ResNet with low rank": {
    model: () => smallResnet() as Model,
    layers: ["layer1.0.conv1", "layer2.0.conv2"],
    structure: "lowrank",
    input: () => [tf.randomNormal([2, 24, 24, 3], 0, 1, "float32", 5), tf.tensor1d([1, 3], "int32")],
    loss: (model, [pixels, labels]) =>
      tf.tidy(
        () => tf.mean(crossEntropy(classifierLogits(model, pixels as tf.Tensor4D), labels as tf.Tensor1D)) as tf.Scalar,
      ),
  },
};

/** Converts layers to a quarter of their cost. @returns their dense matrices */
async function convertTo(model: Model, { layers, structure: name }: Case): Promise<Map<string, tf.Tensor2D>> {
  const kept = new Map<string, tf.Tensor2D>();
  for (const layer of layers) {
    const weight = denseWeight(model, layer);
    const structure = structureNamed(name).forLayer(model.layer(layer), model.masks);
    replaceLayer(model, layer, structure, await structure.fromDense(weight, 0.4));
    kept.set(layer, weight);
  }
  return kept;
}

/** The loss with each layer dense at Ŵ + α (W − Ŵ), computed with ordinary dense layers. */
async function lossAt(
  model: Model,
  kept: ReadonlyMap<string, tf.Tensor2D>,
  alphas: readonly number[],
  of: Case,
): Promise<number> {
  const copy = copyModel(model);
  exportDense(copy);
  for (const [i, [name, weight]] of [...kept].entries()) {
    const converted = denseWeight(copy, name);
    const alpha = alphas[i] as number;
    const mixed = tf.tidy(() => tf.add(tf.mul(converted, 1 - alpha), tf.mul(weight, alpha))) as tf.Tensor2D;
    converted.dispose();
    replaceLayer(copy, name, dense, { weight: mixed });
  }
  const input = of.input();
  const loss = of.loss(copy, input);
  const [value] = await loss.data();
  tf.dispose([loss, ...input]);
  copy.dispose();
  return value as number;
}

async function harmsOf(model: Model, kept: ReadonlyMap<string, tf.Tensor2D>, of: Case, nodes?: readonly number[]) {
  const { signal } = new AbortController();
  const inputs = async function* () {
    yield of.input();
  };
  const options = { dense: kept, inputs: inputs(), release: (batch: readonly tf.Tensor[]) => tf.dispose([...batch]) };
  for await (const event of layerHarms(model, { ...options, loss: of.loss, signal, ...(nodes && { nodes }) })) {
    if (event.kind === "harms") return [...event.harms.values()];
  }
  throw new Error("no harms");
}

forEachEngine("the harm of layers", (_, { name }) => {
  for (const [title, of] of Object.entries(CASES)) {
    test.skipIf(name === "cpu")(`is the derivative of the loss along the path: ${title}`, async () => {
      const model = of.model();
      const kept = await convertTo(model, of);
      const [node, h] = [0.3, 0.005];
      const harms = await harmsOf(model, kept, of, [node]);
      // Tables of masks stay from the first use on.
      const before = tf.memory().numTensors;
      expect(await harmsOf(model, kept, of, [node])).toEqual(harms);
      expect(tf.memory().numTensors).toBe(before);
      for (const [i, harm] of harms.entries()) {
        const at = (value: number) =>
          lossAt(
            model,
            kept,
            harms.map((_, j) => (i === j ? value : node)),
            of,
          );
        const slope = ((await at(node + h)) - (await at(node - h))) / (2 * h);
        expect(Math.abs(harm + slope)).toBeLessThan(2e-3 + 5e-3 * Math.abs(slope));
        expect(Math.abs(slope)).toBeGreaterThan(1e-3);
      }
      for (const each of kept.values()) each.dispose();
      model.dispose();
    });

    test.skipIf(name === "cpu")(`sums up to the loss that the conversion adds: ${title}`, async () => {
      const model = of.model();
      const kept = await convertTo(model, of);
      const structures = of.layers.map((layer) => model.layer(layer).structure);
      const nodes = Array.from({ length: 16 }, (_, i) => (i + 0.5) / 16);
      const ends = [0, 1].map((alpha) =>
        lossAt(
          model,
          kept,
          of.layers.map(() => alpha),
          of,
        ),
      );
      const [converted, whole] = (await Promise.all(ends)) as [number, number];
      const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
      expect(sum(await harmsOf(model, kept, of, nodes))).toBeCloseTo(converted - whole, 2);
      // The model is as it was.
      expect(of.layers.map((layer) => model.layer(layer).structure)).toEqual(structures);
      expect(model.masks.mode).toBeUndefined();
      for (const each of kept.values()) each.dispose();
      model.dispose();
    });
  }
});
