// Models saved and loaded again: the same bits, the same outputs whichever form is loaded, and files that the rest of
// the workbench reads.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { findLayers, openModel } from "../../hub/model-folder/index.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  denseWeight,
  forInference,
  type Gpt2Config,
  type Model,
  saveModel,
  saveModelNow,
} from "../../workbench/models/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { ids, livelier, structured, taken, tinyGpt2 } from "./tiny.ts";

const folder = temporaryFolder();
const LAYERS = ["h.0.attn.c_attn", "h.0.mlp.c_fc", "h.1.mlp.c_proj"];

async function bits(model: Model<Gpt2Config>): Promise<Record<string, Uint8Array>> {
  const entries = await Promise.all(
    [...model.parameters].map(async ([name, variable]) => {
      const { buffer, byteOffset, byteLength } = await variable.data();
      return [name, new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength).slice()] as const;
    }),
  );
  return Object.fromEntries(entries);
}

const logits = (model: Model<Gpt2Config>) => taken(tf.tidy(() => languageLogits(model, ids(2, 9))));

const load = async (path: string, form: "auto" | "trainable" | "packed" = "auto") =>
  (await loadModelNow(path, { form })) as Model<Gpt2Config>;

function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);
}

describe("on any engine", () => {
  beforeAll(async () => {
    await openEngine();
  });

  test("a dense model comes back bit for bit, with its config as it was", async () => {
    const model = livelier(tinyGpt2({ tie_word_embeddings: false, some_field: { kept: true } }));
    const files = await saveModelNow(model, folder("dense"));
    expect(files.toSorted()).toEqual(["config.json", "model.safetensors"]);
    const back = await load(folder("dense"));
    expect(await bits(back)).toEqual(await bits(model));
    expect(back.json).toMatchObject({ ...model.json, architectures: ["GPT2LMHeadModel"] });
    expect(back.json.gblr).toBeUndefined();
  });

  test("packed forms that are not kept in memory give the same files, and leave no tensor behind", async () => {
    const model = await structured(livelier(tinyGpt2()), LAYERS, "gblr");
    await saveModelNow(model, folder("kept"), { trainable: true });
    const tensors = tf.memory().numTensors;
    for (const packedBytes of [0, 5000]) {
      await saveModelNow(model, folder(`again-${packedBytes}`), { trainable: true, packedBytes });
      for (const file of ["model.safetensors", "trainable.safetensors"]) {
        const [one, other] = [folder("kept", file), folder(`again-${packedBytes}`, file)].map((path) =>
          readFileSync(path),
        );
        expect(Buffer.compare(one as Buffer, other as Buffer)).toBe(0);
      }
    }
    expect(tf.memory().numTensors).toBe(tensors);
  });

  test("a tensor of several pieces comes back bit for bit, in each number type", async () => {
    const model = livelier(tinyGpt2({ vocab_size: 300_000 }));
    await saveModelNow(model, folder("pieces"));
    const back = await load(folder("pieces"));
    const values = (of: Model<Gpt2Config>) => of.parameter("wte.weight").data();
    expect(Buffer.compare(Buffer.from((await values(back)).buffer), Buffer.from((await values(model)).buffer))).toBe(0);
    await saveModelNow(model, folder("half-pieces"), { dtype: "float16" });
    const half = await load(folder("half-pieces"));
    const exact = await values(model);
    expect((await values(half)).every((value, i) => Math.abs(value - (exact[i] as number)) < 1e-3)).toBe(true);
    for (const each of [model, back, half]) each.dispose();
  });

  for (const structure of ["lowrank", "pifa", "btt", "monarch", "block-low-rank", "blast", "block-sparse", "gblr"]) {
    test(`a model with ${structure} layers comes back bit for bit to be trained on`, async () => {
      const model = await structured(livelier(tinyGpt2()), LAYERS, structure);
      const before = await logits(model);
      await saveModelNow(model, folder(structure), { trainable: true });
      const back = await load(folder(structure), "trainable");
      expect(await bits(back)).toEqual(await bits(model));
      expect(await logits(back)).toEqual(before);
      expect([...back.parameters.keys()].sort()).toEqual([...model.parameters.keys()].sort());
      expect(LAYERS.map((name) => back.layer(name).structure.name)).toEqual(LAYERS.map(() => structure));
    });
  }

  test("a packed model that is saved again is the same file", async () => {
    const model = await structured(livelier(tinyGpt2()), LAYERS, "gblr");
    await saveModelNow(model, folder("packed"), { base: { name: "owner/base" }, gblr: { budget: 0.5 } });
    await saveModelNow(await load(folder("packed")), folder("again"));
    const read = (...names: string[]) => readFileSync(folder(...names));
    expect(read("again", "model.safetensors")).toEqual(read("packed", "model.safetensors"));
    const configs = ["again", "packed"].map((name) => JSON.parse(read(name, "config.json").toString()));
    expect(configs[0]).toEqual(configs[1]);
  });

  test("config.json says what the layers are, what they cost and where they come from", async () => {
    const model = await structured(livelier(tinyGpt2()), ["h.0.mlp.c_fc", "h.1.mlp.c_fc"], "gblr");
    await structured(model, ["h.0.attn.c_attn"], "lowrank");
    model.masks.sigma = 80;
    await saveModelNow(model, folder("mixed"), {
      trainable: true,
      base: { name: "owner/base" },
      gblr: { budget: 0.5 },
    });
    const { gblr, model_type, auto_map } = JSON.parse(readFileSync(folder("mixed", "config.json"), "utf8"));
    expect(gblr).toMatchObject({ format: 1, structure: "gblr", base_model: "owner/base", budget: 0.5, sigma: 80 });
    expect(gblr.layers["h.0.attn.c_attn"]).toMatchObject({ structure: "lowrank", n_in: 16, n_out: 48 });
    expect(gblr.layers["h.0.mlp.c_fc"]).toMatchObject({ n_in: 16, n_out: 64, blocks: 16 });
    expect(gblr.relative_flops.actual).toBeLessThan(1);
    expect(gblr.relative_flops.reference).toBeLessThan(1);
    expect(model_type).toBe("gpt2");
    expect(Object.values(auto_map as object)).toContain("modeling_gblr.GblrGPT2LMHeadModel");
    const back = await load(folder("mixed"), "trainable");
    expect(back.masks.sigma).toBe(80);
    expect(await logits(back)).toEqual(await logits(model));
  });

  test("what is read of a saved folder without an engine agrees with it", async () => {
    const model = await structured(livelier(tinyGpt2()), LAYERS, "gblr");
    await saveModelNow(model, folder("read"), { trainable: true });
    const open = await openModel(folder("read"));
    const { layers } = findLayers(open);
    const found = layers
      .filter(({ readSpans }) => readSpans !== undefined)
      .map(({ name, nIn, nOut }) => ({ name, nIn, nOut }));
    await open.tensors.close();
    expect(found).toEqual(LAYERS.map((name) => ({ name, nIn: model.layer(name).nIn, nOut: model.layer(name).nOut })));
    const trainable = await openModel(folder("read", "trainable.safetensors"));
    const names = [...trainable.tensors.tensors.keys()].filter((name) => name.startsWith("h.0.mlp.c_fc."));
    await trainable.tensors.close();
    const parts = ["locations", "lr_weight1", "lr_weight2", "sigma", "widths"];
    expect(names.sort()).toEqual(parts.map((part) => `h.0.mlp.c_fc.${part}`));
  });

  test("names keep the prefix of the checkpoint that the model came from", async () => {
    const model = await structured(livelier(tinyGpt2({ tie_word_embeddings: false })), LAYERS, "gblr");
    const { architecture, config, json, parameters, layers } = model;
    const Model = model.constructor as typeof import("../../workbench/models/model.ts").Model;
    const prefixed = new Model({ architecture, config, json, parameters, layers, prefix: "transformer." });
    await saveModelNow(prefixed, folder("prefixed"), { trainable: true });
    const open = await openModel(folder("prefixed"));
    const names = [...open.tensors.tensors.keys()];
    await open.tensors.close();
    expect(names).toContain("transformer.h.0.mlp.c_fc.spans");
    expect(names).toContain("lm_head.weight");
    const back = await load(folder("prefixed"), "trainable");
    expect(back.prefix).toBe("transformer.");
    expect(await bits(back)).toEqual(await bits(model));
  });

  test("a model in shards comes back, and takes the place of one in a single file", async () => {
    const model = livelier(tinyGpt2());
    await saveModelNow(model, folder("shards"));
    await saveModelNow(model, folder("shards"), { maxShardBytes: 10_000 });
    const files = readdirSync(folder("shards"));
    expect(files).toContain("model.safetensors.index.json");
    expect(files).not.toContain("model.safetensors");
    expect(await bits(await load(folder("shards")))).toEqual(await bits(model));
  });

  test("tokenizer files of the base go along, its weights and its description do not", async () => {
    const base = folder("base");
    mkdirSync(base);
    mkdirSync(folder("base", "additional_chat_templates"));
    const kept = [
      "tokenizer.json",
      "merges.txt",
      "generation_config.json",
      "chat_template.jinja",
      "chat_template.json",
      "additional_chat_templates/tool_use.jinja",
    ];
    for (const name of [...kept, "README.md", "model.safetensors"]) writeFileSync(folder("base", name), name);
    await saveModelNow(tinyGpt2(), folder("with-base"), { base: { folder: base } });
    const files = readdirSync(folder("with-base"), { recursive: true }).map(String);
    expect(files.sort()).toEqual([...kept, "additional_chat_templates", "config.json", "model.safetensors"].sort());
  });

  test("saving without training parameters removes those of an earlier model, and nothing else", async () => {
    const model = await structured(livelier(tinyGpt2()), LAYERS, "gblr");
    await saveModelNow(model, folder("twice"), { trainable: true });
    writeFileSync(folder("twice", "metrics.jsonl"), "{}\n");
    await saveModelNow(model, folder("twice"));
    const files = readdirSync(folder("twice"));
    expect(files).toContain("metrics.jsonl");
    expect(files).not.toContain("trainable.safetensors");
    await expect(load(folder("twice"), "trainable")).rejects.toThrow(
      /layer "h.0.attn.c_attn": is packed and cannot be trained; there is no trainable.safetensors/,
    );
    await expect(saveModelNow(await load(folder("twice")), folder("twice"), { trainable: true })).rejects.toThrow(
      /is packed, and its trainable form is not loaded/,
    );
  });

  test("what a killed save has left of any file is removed by the next, and nothing else", async () => {
    const place = folder("killed");
    mkdirSync(place);
    const staged = ["config.json", "tokenizer.json", "preprocessor_config.json", "vocab.json", "model.safetensors"];
    for (const name of staged) writeFileSync(`${place}/.${name}.0123456789ab.tmp`, "half");
    writeFileSync(`${place}/.notes.tmp`, "kept");
    const model = tinyGpt2();
    await saveModelNow(model, place);
    expect(readdirSync(place).toSorted()).toEqual([".notes.tmp", "config.json", "model.safetensors"]);
    model.dispose();
  });

  test("a save that is given up half way leaves the folder as it was", async () => {
    const first = livelier(tinyGpt2());
    await saveModelNow(first, folder("given-up"));
    const names = readdirSync(folder("given-up")).sort();
    for await (const event of saveModel(livelier(tinyGpt2(), 9), folder("given-up"))) {
      if (event.kind === "progress" && event.tensor.startsWith("h.1")) break;
    }
    expect(readdirSync(folder("given-up")).sort()).toEqual(names);
    expect(await bits(await load(folder("given-up")))).toEqual(await bits(first));
  });
});

forEachEngine("forms of a GBLR model", () => {
  for (const sigma of [undefined, 6]) {
    test(`evaluate alike, with ${sigma === undefined ? "sharp" : "smooth"} masks`, async () => {
      const model = await structured(livelier(tinyGpt2()), LAYERS, "gblr");
      if (sigma !== undefined) model.masks.sigma = sigma;
      model.masks.mode = "eval";
      const path = folder(`forms-${sigma}-${tf.getBackend()}`);
      await saveModelNow(model, path, { trainable: true });
      const expected = await logits(model);
      const trainable = await load(path, "trainable");
      trainable.masks.mode = "eval";
      const packed = await load(path, "packed");
      expect(packed.layer("h.0.mlp.c_fc").structure.name).toBe("packed");
      expect(furthest(await logits(trainable), expected)).toBeLessThan(1e-5);
      expect(furthest(await logits(packed), expected)).toBeLessThan(1e-5);
      for (const from of [model, trainable, packed]) {
        for (const rows of ["many", "few"] as const) {
          const before = tf.memory().numTensors;
          const view = await forInference(from, { rows });
          expect(furthest(await logits(view), expected)).toBeLessThan(1e-5);
          view.dispose();
          expect(tf.memory().numTensors).toBe(before);
        }
      }
      for (const name of LAYERS) {
        const weights = await Promise.all([model, packed].map((each) => taken(denseWeight(each, name))));
        expect(furthest(weights[0] as Float32Array, weights[1] as Float32Array)).toBeLessThan(1e-5);
      }
      for (const each of [model, trainable, packed]) each.dispose();
    });
  }
});
