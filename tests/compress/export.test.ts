// The way back: a structured model made dense, or written under the reference's names, gives the same logits; converted,
// saved and loaded again it does too.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { exportDense, planConversion, referenceTensors } from "../../workbench/compress/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  forInference,
  type Gpt2Config,
  type Model,
  prepareFolder,
  saveModelNow,
  splitConvolution,
  storedConfig,
  writeModelFolder,
} from "../../workbench/models/index.ts";
import { smallMixer, smallResnet } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read } from "../engine/ops/operands.ts";
import { fixture, temporaryFolder } from "../hub/temporary.ts";
import { converted, tinyModel, tokens } from "./tiny.ts";

const at = temporaryFolder();

/** As evaluation runs it. */
async function logits(model: Model<Gpt2Config>): Promise<Float32Array> {
  const view = await forInference(model);
  const values = await read(tf.tidy(() => languageLogits(view, tokens(7))));
  view.dispose();
  return values;
}

async function structured(structure: string): Promise<Model<Gpt2Config>> {
  const model = tinyModel();
  await converted(model, await planConversion(model, { structure, budget: 0.71 }));
  return model;
}

async function writeReference(model: Model<Gpt2Config>, folder: string): Promise<void> {
  await prepareFolder(folder);
  const content = { model: await referenceTensors(model), config: await storedConfig(model, { layers: {} }) };
  for await (const _ of writeModelFolder(folder, content));
}

forEachEngine("export", (_, { label }) => {
  for (const structure of ["gblr", "lowrank", "monarch", "block-low-rank", "block-sparse"]) {
    test(`${structure}: converted, saved, loaded, made dense, saved and loaded again gives the same logits`, async () => {
      const folder = at(`${label} ${structure}`);
      const model = await structured(structure);
      const expected = await logits(model);
      await saveModelNow(model, folder, { trainable: structure === "gblr" });
      for (const form of structure === "gblr" ? (["packed", "trainable"] as const) : (["auto"] as const)) {
        const loaded = (await loadModelNow(folder, { form })) as Model<Gpt2Config>;
        expectClose(await logits(loaded), expected, { tolerance: 1e-4 });
        expect(exportDense(loaded).length).toBe(6);
        expectClose(await logits(loaded), expected, { tolerance: 1e-4 });
        await saveModelNow(loaded, `${folder} dense`);
        loaded.dispose();
        const dense = (await loadModelNow(`${folder} dense`)) as Model<Gpt2Config>;
        expectClose(await logits(dense), expected, { tolerance: 1e-4 });
        const config = JSON.parse(readFileSync(`${folder} dense/config.json`, "utf8"));
        expect(config).toMatchObject({ model_type: "gpt2", architectures: ["GPT2LMHeadModel"] });
        expect(config.gblr).toBeUndefined();
        dense.dispose();
      }
      model.dispose();
    });
  }

  test("a block that is one sample wide on both sides is in training, not in what is exported", async () => {
    const model = await structured("gblr");
    const widths = model.parameter("h.0.mlp.c_fc.widths");
    const values = (await read(widths)).slice();
    [values[15], values[31]] = [1 / 16, 1 / 64];
    tf.tidy(() => widths.assign(tf.tensor2d(values, [2, 16])));
    const expected = await logits(model);
    const training = await read(tf.tidy(() => languageLogits(model, tokens(7))));
    expect(training).not.toEqual(expected);
    exportDense(model);
    expect(model.masks.mode).toBeUndefined();
    expectClose(await logits(model), expected, { tolerance: 1e-4 });
    model.dispose();
  });

  test("the reference's tensors, loaded again, give the same logits, from either form", async () => {
    const model = await structured("gblr");
    const expected = await logits(model);
    const folder = at(`${label} forms`);
    await saveModelNow(model, folder, { trainable: true });
    for (const form of ["packed", "trainable"] as const) {
      const loaded = (await loadModelNow(folder, { form })) as Model<Gpt2Config>;
      const before = tf.memory().numTensors;
      await writeReference(loaded, at(`${label} reference`));
      expect(tf.memory().numTensors).toBe(before);
      loaded.dispose();
      const again = (await loadModelNow(at(`${label} reference`))) as Model<Gpt2Config>;
      expect(again.layer("h.1.mlp.c_proj").structure.name).toBe("gblr");
      expect(again.parameter("h.1.mlp.c_proj.lr_weight1").shape).toEqual([16, 1, 64]);
      expectClose(await logits(again), expected, { tolerance: 1e-4 });
      again.dispose();
    }
    model.dispose();
  });
});

test("the reference's names, shapes and buffers are those of its own checkpoint", async () => {
  const theirs = await readSafetensors(fixture("tiny-gpt2-gaudi.safetensors"));
  const folder = at("theirs");
  const model = (await loadReference(folder)) as Model<Gpt2Config>;
  const sources = new Map((await referenceTensors(model)).map((source) => [source.name, source]));
  const expected = new Map([...theirs].map(([name, tensor]) => [name.replace(/^model\./, ""), tensor]));
  expect([...sources.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [name, tensor] of expected) {
    const source = sources.get(name);
    expect({ name, dtype: source?.dtype, shape: source?.shape }).toEqual({
      name,
      dtype: tensor.dtype,
      shape: tensor.shape as number[],
    });
    // Its masks have no Gaussian, whatever σ says.
    if (!name.endsWith(".sigma"))
      expect(Array.from(source?.data as Float32Array)).toEqual(Array.from(tensor.data as Float32Array));
  }
});

test("only GBLR and dense layers have names in the reference", async () => {
  await expect(referenceTensors(await structured("monarch"))).rejects.toThrow(
    "the reference's checkpoints hold GBLR and dense layers, h.0.attn.c_attn is monarch; export dense",
  );
  const split = smallResnet() as unknown as Model;
  splitConvolution(split, "layer1.0.conv1");
  await expect(referenceTensors(split)).rejects.toThrow(
    "the reference's kernels are GBLR at all positions or none, layer1.0.conv1.0 is dense; export dense",
  );
  await expect(referenceTensors(smallMixer() as unknown as Model)).rejects.toThrow(
    "the reference's names are known for gpt2, vit, resnet, the model is mixer; export dense",
  );
});

/** The reference's own checkpoint as a model folder. */
async function loadReference(folder: string): Promise<unknown> {
  const { mkdir, copyFile, writeFile } = await import("node:fs/promises");
  await mkdir(folder, { recursive: true });
  await copyFile(fixture("tiny-gpt2-gaudi.safetensors"), `${folder}/model.safetensors`);
  const config = { model_type: "gpt2", n_layer: 2, n_embd: 16, n_head: 2, n_positions: 8, vocab_size: 40 };
  await writeFile(`${folder}/config.json`, JSON.stringify(config));
  return loadModelNow(folder);
}
