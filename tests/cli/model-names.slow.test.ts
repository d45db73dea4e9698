// Models by the names that every verb takes: checkpoints of the zoo, and repositories from before safetensors. Processes
// of their own, a release and a Hub on this machine.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { checkpoint, push, tensor } from "../hub/checkpoint/build.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { tinyCheckpoint } from "../models/tiny-checkpoint.ts";
import { GBLR, makeTinyHub, QUICK, RECIPE, run } from "../pipeline/tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
let server: Server;
let place: { hub: string; work: string; env: Record<string, string> };

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const bytes = await tinyCheckpoint(() => {}, push.dict({ n_head: push.int(2) }));
  server = createServer(({ url }, response) => {
    if (url?.endsWith("gpt2-gaudi.ckpt")) response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const release = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1.0.0/`;
  place = { hub: await makeTinyHub(folder("hub")), work: folder("work"), env: { GBLR_ZOO: release } };
  mkdirSync(place.work);
  // The zoo's models take the tokenizer of the model that they come from; this one has as few ids as the checkpoint.
  const base = join(place.hub, "models/openai-community/gpt2");
  mkdirSync(base, { recursive: true });
  const words = ["<unk>", "to", "be", "or", "not"];
  const vocab = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [words[i] ?? `word${i}`, i]));
  const model = { type: "WordLevel", vocab, unk_token: "<unk>" };
  const parts = { version: "1.0", added_tokens: [], normalizer: null, post_processor: null, decoder: null };
  writeFileSync(
    join(base, "tokenizer.json"),
    JSON.stringify({ ...parts, pre_tokenizer: { type: "Whitespace" }, model }),
  );
  writeFileSync(join(base, "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast" }));
}, PATIENCE);
afterAll(() => void server.close());

const gblr = (...args: string[]) => run(GBLR, args, place);

test(
  "zoo:gpt2-gaudi can be exported and generated from as any model is",
  async () => {
    const exported = await gblr("export", "zoo:gpt2-gaudi", "--to", "dense", "--out", "dense", "--engine", "wasm");
    expect({ code: exported.code, stderr: exported.stderr }).toEqual({ code: 0, stderr: "" });
    const tensors = await readSafetensors(join(place.work, "dense/model.safetensors"));
    expect([...tensors.keys()].some((name) => name.endsWith("h.0.attn.c_attn.weight"))).toBe(true);
    const generated = await gblr("generate", "zoo:gpt2-gaudi", "to be or", "--tokens", "3", "--engine", "wasm");
    expect({ code: generated.code, stderr: generated.stderr }).toEqual({ code: 0, stderr: "" });
  },
  PATIENCE,
);

test(
  "gblr inspect shows a model of the zoo, and of a repository fetches no more than what it reads",
  async () => {
    const zoo = await gblr("inspect", "zoo:gpt2-gaudi", "--json");
    const found = JSON.parse(zoo.stdout);
    expect(found.model).toBe("zoo:gpt2-gaudi");
    expect(found.layers.some(({ structure }: { structure: string }) => structure === "gblr")).toBe(true);
    const models = join(place.hub, "models/tiny");
    for (const [name, files] of Object.entries({
      packed: { "config.json": "{}", "tokenizer.json": "{}", "model.fp16.safetensors": "none" },
      trainable: { "config.json": "{}", "trainable.safetensors": "" },
    })) {
      mkdirSync(join(models, name), { recursive: true });
      for (const [file, text] of Object.entries(files)) writeFileSync(join(models, name, file), text);
    }
    cpSync(join(models, "gpt2/model.safetensors"), join(models, "packed/model.safetensors"));
    cpSync(join(models, "gpt2/model.safetensors"), join(models, "packed/trainable.safetensors"));
    cpSync(join(models, "gpt2/model.safetensors"), join(models, "trainable/trainable.safetensors"));
    const inspected = await gblr("inspect", "tiny/packed");
    expect([inspected.code, inspected.stderr, inspected.stdout.split("\n")[0]]).toEqual([0, "", "tiny/packed"]);
    const cached = join(place.work, "huggingface/hub/models--tiny--packed/snapshots");
    const [commit] = readdirSync(cached);
    expect(readdirSync(join(cached, commit as string))).toEqual(["config.json"]);
    expect((await gblr("inspect", "tiny/trainable")).code).toBe(0);
    const nowhere = await gblr("inspect", "tiny/nowhere");
    expect([nowhere.code, nowhere.stderr.trim().split("\n").length]).toEqual([1, 1]);
    expect(nowhere.stderr).toContain('has no model "tiny/nowhere"');
  },
  PATIENCE,
);

test(
  "a model of the Hub is run without its trainable factors being fetched, and trained on with them",
  async () => {
    const models = join(place.hub, "models/tiny");
    const pulled = await gblr("pull", "zoo:gpt2-gaudi");
    cpSync(pulled.stdout.trim().split("\n").at(-1) as string, join(models, "both"), { recursive: true });
    const both = ["config.json", "model.safetensors", "trainable.safetensors"];
    expect(readdirSync(join(models, "both"))).toEqual(expect.arrayContaining(both));
    const snapshots = join(place.work, "huggingface/hub/models--tiny--both/snapshots");
    const weights = () =>
      readdirSync(snapshots, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".safetensors"))
        .map((name) => name.split("/").at(-1))
        .sort();
    const generated = await gblr("generate", "tiny/both", "to be or", "--tokens", "3", "--engine", "wasm");
    expect({ code: generated.code, stderr: generated.stderr }).toEqual({ code: 0, stderr: "" });
    expect(weights()).toEqual(["model.safetensors"]);
    const exported = await gblr("export", "tiny/both", "--to", "reference", "--out", "reference", "--engine", "wasm");
    expect({ code: exported.code, stderr: exported.stderr }).toEqual({ code: 0, stderr: "" });
    expect(weights()).toEqual(["model.safetensors", "trainable.safetensors"]);
  },
  PATIENCE,
);

test(
  "gblr eval ppl scores a model of the zoo",
  async () => {
    mkdirSync(join(place.work, "texts"));
    writeFileSync(join(place.work, "texts/test.txt"), "to be or not to be\n".repeat(30));
    const args = ["--dataset", "texts", "--context", "8", "--limit", "4", "--engine", "wasm", "--json"];
    const scored = await gblr("eval", "ppl", "zoo:gpt2-gaudi", ...args);
    expect(scored.stderr).toBe("");
    expect(JSON.parse(scored.stdout)).toMatchObject({ model: "zoo:gpt2-gaudi", tokens: 32, windows: 4 });
    expect(JSON.parse(scored.stdout).relativeFlops.reference).toBeLessThan(1);
    const unknown = await gblr("eval", "ppl", "zoo:gpt3", ...args);
    expect(unknown).toEqual({
      code: 1,
      stdout: "",
      stderr: "gblr: zoo:gpt3: is not in the zoo; available: zoo:gpt2-gaudi, zoo:vit-b-gaudi, zoo:resnet18-gaudi\n",
    });
  },
  PATIENCE,
);

test(
  "a repository that has only pytorch_model.bin is pulled with it, by every verb, and is the same model",
  async () => {
    const [from, to] = ["models/tiny/gpt2", "models/tiny/old"].map((name) => join(place.hub, name));
    cpSync(from as string, to as string, { recursive: true });
    rmSync(join(to as string, "model.safetensors"));
    const stored = await readSafetensors(join(from as string, "model.safetensors"));
    const storages: Record<string, Uint8Array> = {};
    const state: Record<string, Uint8Array> = {};
    for (const [i, [name, { shape, data }]] of [...stored].entries()) {
      storages[i] = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, side) => product * side, 1));
      state[name] = tensor({ key: String(i), length: data.length, shape: [...shape], strides });
    }
    writeFileSync(join(to as string, "pytorch_model.bin"), checkpoint(push.dict(state), storages));
    const score = async (name: string) => {
      const args = ["--dataset", "tiny/stories", "--limit", "4", "--engine", "wasm", "--json"];
      const { stdout, stderr } = await gblr("eval", "ppl", name, ...args);
      expect(stderr).toBe("");
      return JSON.parse(stdout).nll as number;
    };
    expect(await score("tiny/old")).toBe(await score("tiny/gpt2"));
    const converted = await gblr(
      "convert",
      "tiny/old",
      "--structure",
      "lowrank",
      "--budget",
      "0.5",
      "--engine",
      "wasm",
      "--out",
      "converted",
    );
    expect({ code: converted.code, stderr: converted.stderr }).toEqual({ code: 0, stderr: "" });
    const args = [...QUICK, "--model", "tiny/old", "--structure", "lowrank", "--budget", "0.5", "--steps", "1"];
    const whole = await run(RECIPE, [...args, "--run", "old", "--json"], place);
    expect(whole.stderr).toBe("");
    const [dense] = JSON.parse(whole.stdout).rows;
    expect(dense.fileBytes).toBe(readFileSync(join(to as string, "pytorch_model.bin")).length);
  },
  PATIENCE,
);
