// Checkpoints written by the reference implementation's trainer, made into model folders: matrices and costs are the
// reference's, names and shapes too, and what is damaged, hostile or of another architecture is refused. With the zoo's
// whole way, from a server on this machine.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { Tensor2D } from "@tensorflow/tfjs-core";
import type { HubAccess } from "../../hub/access/repository.ts";
import { type StoredTensor, toFloat32 } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { serveHub } from "../../hub/serve/index.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { denseWeight } from "../../workbench/models/index.ts";
import { importReference, type PullZooEvent, pullZoo } from "../../workbench/models/reference/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { bytesOf, push } from "../hub/checkpoint/build.ts";
import { fixture, temporaryFolder } from "../hub/temporary.ts";
import { tinyCheckpoint } from "./tiny-checkpoint.ts";

const at = temporaryFolder();
const TINY = fixture("tiny-gpt2-gaudi.ckpt");
/** The checkpoint's width is no multiple of 64. */
const HEADS = 2;

async function converted(file: string, out: string, heads: number | "none" = HEADS) {
  const options = { out, ...(heads !== "none" && { heads }) };
  for await (const event of importReference(file, options)) if (event.kind === "converted") return event;
  throw new Error("was not converted");
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: Error) => error,
  );
  expect(error?.message).toBeString();
  expect(error?.message).not.toContain("\n");
  return error?.message ?? "";
}

const withoutWrapper = (name: string): string => name.replace(/^model\.transformer\./, "");

forEachEngine("a reference checkpoint", (_, { label }) => {
  const out = at(label.replaceAll(/\W/g, "-"), "tiny");

  test("becomes a model folder with the reference's matrices and costs, packed and to train", async () => {
    const { config } = await converted(TINY, out);
    expect(config).toMatchObject({
      model_type: "gpt2",
      vocab_size: 40,
      n_embd: 16,
      n_layer: 2,
      n_head: 2,
      n_positions: 8,
      n_inner: null,
      tie_word_embeddings: true,
    });
    const truth = await readSafetensors(fixture("tiny-gpt2-gaudi.masked.safetensors"));
    const layers = [...truth.keys()].filter((name) => name.endsWith(".masked_weight"));
    expect(layers.length).toBe(6);
    for (const form of ["packed", "trainable"] as const) {
      const model = await loadModelNow(out, { form });
      model.masks.mode = "eval";
      for (const key of layers) {
        const name = key.slice(0, -".masked_weight".length);
        const layer = model.layer(withoutWrapper(name));
        expect(layer.structure.name).toBe(form === "packed" ? "packed" : "gblr");
        const matrix = denseWeight(model, layer.name) as Tensor2D;
        const [values, expected] = [await matrix.data(), toFloat32(truth.get(key) as StoredTensor)];
        expect(matrix.shape).toEqual([...(truth.get(key)?.shape ?? [])] as [number, number]);
        const deviation = expected.reduce(
          (worst, value, i) => Math.max(worst, Math.abs(value - (values[i] as number))),
          0,
        );
        expect(deviation).toBeLessThan(2e-5);
        const [cost] = toFloat32(truth.get(`${name}.num_params`) as StoredTensor);
        expect(await layer.structure.cost(model.structureParameters(layer.name))).toBe(cost as number);
        matrix.dispose();
      }
      model.dispose();
    }
  });

  test("keeps the reference's names, shapes and values for training", async () => {
    const reference = await readSafetensors(fixture("tiny-gpt2-gaudi.safetensors"));
    const [trainable, packed] = await Promise.all(
      ["trainable.safetensors", "model.safetensors"].map((file) => readSafetensors(path.join(out, file))),
    );
    let structured = 0;
    for (const [stored, tensor] of reference) {
      const name = stored.slice("model.".length);
      // causal masks, the tied head, and what follows from the sizes
      if (/attn\.(masked_)?bias$|^lm_head|freq_(in|out)$/.test(name)) continue;
      const found = trainable?.get(name) ?? packed?.get(name);
      expect({ name, shape: found?.shape }).toEqual({ name, shape: tensor.shape });
      if (name.endsWith(".sigma")) continue; // of no effect there: its masks have no Gaussian
      expect(found?.data).toEqual(tensor.data);
      if (/(lr_weight\d|widths|locations)$/.test(name)) structured++;
    }
    expect(structured).toBe(24);
  });
});

/** @returns its path */
async function changed(name: string, ...settings: Parameters<typeof tinyCheckpoint>): Promise<string> {
  const file = at(`${name}.ckpt`);
  writeFileSync(file, await tinyCheckpoint(...settings));
  return file;
}

const LAYER = "model.transformer.h.1.mlp.c_fc";

describe("a checkpoint that is no such thing", () => {
  test("is refused in one line, and leaves nothing behind", async () => {
    const cases: [file: string, message: RegExp][] = [
      [fixture("bad-truncated.ckpt"), /bad-truncated\.ckpt: /],
      [fixture("bad-os-system.ckpt"), /bad-os-system\.ckpt: .*system/],
      [
        fixture("variants.ckpt"),
        /its tensors are of an unknown architecture, such as ".*"; available: gpt2, vit, resnet$/,
      ],
      [
        await changed("missing", (tensors) => void tensors.delete(`${LAYER}.lr_weight2`)),
        /tensor "transformer\.h\.1\.mlp\.c_fc\.lr_weight2": is missing$/,
      ],
      [
        await changed("unnormed", (tensors) => void tensors.delete("model.transformer.h.0.ln_2.bias")),
        /tensor "transformer\.h\.0\.ln_2\.bias": is missing/,
      ],
      [
        await changed("infinite", (tensors) => {
          (tensors.get(`${LAYER}.lr_weight1`)?.data as Float32Array)[5] = Number.NaN;
        }),
        /tensor "model\.transformer\.h\.1\.mlp\.c_fc\.lr_weight1": value 5 is not finite$/,
      ],
      [
        await changed("misshapen", (tensors) => {
          const { data } = tensors.get("model.transformer.ln_f.weight") as StoredTensor & { dtype: "F32" };
          tensors.set("model.transformer.ln_f.weight", { dtype: "F32", shape: [15], data: data.slice(0, 15) });
        }),
        /tensor "transformer\.ln_f\.weight": must be float \(16\), is F32 \(15\)$/,
      ],
      [
        await changed("foreign", (tensors) => {
          tensors.set("model.transformer.h.0.extra", { dtype: "F32", shape: [1], data: Float32Array.of(1) });
        }),
        /tensor "transformer\.h\.0\.extra": is no parameter of this gpt2/,
      ],
    ];
    for (const [file, message] of cases) {
      expect(await refusal(converted(file, at("refused", path.basename(file))))).toMatch(message);
    }
    const heads = refusal(converted(TINY, at("refused", "heads"), "none"));
    expect(await heads).toMatch(
      /does not tell how many heads it has, and its width 16 is no multiple of 64; say how many with --heads$/,
    );
    expect(readdirSync(at("refused"))).toEqual([]);
  });

  test("has its trainer's own tensors left out, its smoothness and heads read from what it says", async () => {
    const hyper = push.dict({ model: push.dict({ n_head: push.int(4), no_gaussian: bytesOf(0x89) }) });
    const smooth = (tensors: Map<string, StoredTensor>) => {
      tensors.set("criterion.weight", { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) });
      for (const [name, { data }] of tensors) if (name.endsWith(".sigma")) (data as Float32Array)[0] = 3;
    };
    const { config } = await converted(await changed("smooth", smooth, hyper), at("smooth"), "none");
    expect(config).toMatchObject({ n_head: 4, gblr: { sigma: 3 } });
    const model = await loadModelNow(at("smooth"), { form: "trainable" });
    expect(model.masks.sigma).toBe(3);
    model.dispose();
    const uneven = await changed(
      "uneven",
      (tensors) => {
        smooth(tensors);
        (tensors.get(`${LAYER}.sigma`)?.data as Float32Array)[0] = 4;
      },
      hyper,
    );
    expect(await refusal(converted(uneven, at("uneven"), "none"))).toMatch(
      /c_fc\.sigma": must be 3, as in the other layers, is 4$/,
    );
  });
});

describe("the zoo", () => {
  const FILES: Record<string, string> = {
    "/good/gpt2-gaudi.ckpt": "tiny-gpt2-gaudi.ckpt",
    "/hostile/gpt2-gaudi.ckpt": "bad-os-system.ckpt",
    "/truncated/gpt2-gaudi.ckpt": "bad-truncated.ckpt",
    "/good/imagenet-vit-b-gaudi.ckpt": "tiny-gpt2-gaudi.ckpt",
    "/good/imagenet-resnet18-gaudi.ckpt": "variants.ckpt",
  };
  let server: Server;
  let hub: { url: string; close(): Promise<void> };
  const asked: string[] = [];

  beforeAll(async () => {
    server = createServer(({ url = "" }, response) => {
      asked.push(url);
      const file = FILES[url];
      if (file) response.writeHead(200, { etag: `"${file}"` }).end(readFileSync(fixture(file)));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = at("hub", "models", "openai-community", "gpt2");
    mkdirSync(base, { recursive: true });
    for (const name of ["tokenizer.json", "vocab.json", "merges.txt", "model.safetensors", "config.json"]) {
      writeFileSync(path.join(base, name), `{"file": "${name}"}`);
    }
    hub = await serveHub({ folder: at("hub") });
  });
  afterAll(async () => {
    server.close();
    await hub.close();
  });

  async function pulled(name: string, release: string, access: Partial<HubAccess> = {}) {
    const events: PullZooEvent[] = [];
    const settings = {
      release: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${release}`,
      heads: HEADS,
      patience: { attempts: 2, firstDelayMs: 5 },
    };
    const whole = { endpoint: hub.url, cache: at(release, "hub"), ...access };
    for await (const event of pullZoo(name, whole, settings)) events.push(event);
    return events;
  }

  test("gives a model folder with its tokenizer, once", async () => {
    const events = await pulled("zoo:gpt2-gaudi", "good");
    const folder = at("good", "gblr-zoo", "models", "gpt2-gaudi");
    expect(events.at(-1)).toEqual({ kind: "located", folder, name: "zoo:gpt2-gaudi" });
    for (const name of ["config.json", "model.safetensors", "trainable.safetensors", "modeling_gblr.py"]) {
      expect(existsSync(path.join(folder, name))).toBe(true);
    }
    expect(readFileSync(path.join(folder, "tokenizer.json"), "utf8")).toContain("tokenizer.json");
    expect(JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8"))).toMatchObject({
      model_type: "gpt2",
      gblr: { base_model: "openai-community/gpt2", structure: "gblr" },
    });
    const requests = asked.length;
    const again = await pulled("zoo:gpt2-gaudi", "good", { offline: true });
    expect(again.map(({ kind }) => kind)).toEqual(["located"]);
    expect(asked.length).toBe(requests);
  });

  test("does without the tokenizer where the Hub cannot be reached, says so, and adds it later", async () => {
    const cache = at("alone", "hub");
    const alone = await pulled("zoo:gpt2-gaudi", "good", { cache, endpoint: "http://127.0.0.1:1" });
    const note = alone.find((event) => event.kind === "note");
    expect(note?.text).toMatch(/^without the tokenizer of openai-community\/gpt2: /);
    const folder = at("alone", "gblr-zoo", "models", "gpt2-gaudi");
    expect(existsSync(path.join(folder, "tokenizer.json"))).toBe(false);
    await pulled("zoo:gpt2-gaudi", "good", { cache });
    expect(existsSync(path.join(folder, "tokenizer.json"))).toBe(true);
  });

  test("refuses a file that would run code or is cut short, and does not keep it", async () => {
    for (const release of ["hostile", "truncated"]) {
      await refusal(pulled("zoo:gpt2-gaudi", release));
      const kept = readdirSync(at(release, "gblr-zoo"), { recursive: true, encoding: "utf8" });
      expect(kept.filter((name) => !name.endsWith(".lock"))).toEqual(["models"]);
    }
  });

  test("refuses a file that holds another model than its name says, and keeps nothing made of it", async () => {
    const message = await refusal(pulled("zoo:vit-b-gaudi", "good"));
    expect(message).toEndWith("imagenet-vit-b-gaudi.ckpt: is a gpt2, no vit");
    expect(readdirSync(at("good", "gblr-zoo", "models"))).not.toContain("vit-b-gaudi");
    expect(await refusal(pulled("zoo:resnet18-gaudi", "good"))).toMatch(/of an unknown architecture/);
  });
});
