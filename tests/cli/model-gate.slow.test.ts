// One gate for model folders: the same broken folder is refused with the same line by whatever reads it, before anything
// is computed, copied or drawn.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { addExport } from "../../workbench/cli/export.ts";
import { addInspect } from "../../workbench/cli/inspect.ts";
import { addPush } from "../../workbench/cli/push.ts";
import { describeModel } from "../../workbench/report/describe-model.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { decodeTensors, encodeTensors, type RawTensor } from "../models/mutated/files.ts";
import { runVerb } from "./in-process.ts";

const FIXTURES = path.join(import.meta.dir, "../fixtures/model-folders/v1");
const LAYER = "h.0.mlp.c_fc";
const at = temporaryFolder();
const before = { ...process.env };

beforeAll(() => {
  mkdirSync(at("hub"));
  Object.assign(process.env, { HF_ENDPOINT: `file:${at("hub")}`, HF_HOME: at("huggingface"), HF_TOKEN: "hf_x" });
});
afterAll(() => {
  for (const name of ["HF_ENDPOINT", "HF_HOME", "HF_TOKEN"]) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

interface Files {
  config: { gblr: { layers: Record<string, Record<string, unknown>> } };
  model: RawTensor[];
  trainable: RawTensor[];
}

/** A copy of a good folder with something changed. */
function changed(name: string, change: (files: Files) => void, of = "gpt2-packed"): string {
  const folder = at(name);
  cpSync(path.join(FIXTURES, of), folder, { recursive: true });
  const read = (file: string) =>
    existsSync(path.join(folder, file)) ? decodeTensors(readFileSync(path.join(folder, file))) : [];
  const config = JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8"));
  const files = { config, model: read("model.safetensors"), trainable: read("trainable.safetensors") };
  change(files);
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(path.join(folder, "model.safetensors"), encodeTensors(files.model));
  if (files.trainable.length > 0)
    writeFileSync(path.join(folder, "trainable.safetensors"), encodeTensors(files.trainable));
  return folder;
}

const tensor = (tensors: readonly RawTensor[], name: string): RawTensor =>
  tensors.find((each) => each.name === name) as RawTensor;

/** One length of the first block is one less, so that every value behind it is read one sample too early. */
function shortened({ model }: Files): void {
  const spans = tensor(model, `${LAYER}.spans`);
  const rows = new Int32Array(spans.bytes.slice().buffer);
  const at = spans.shape[1] as number;
  rows[at] = (rows[at] as number) - 1;
  spans.bytes = new Uint8Array(rows.buffer);
}

const LINE = new RegExp(
  `^gblr: \\S+: layer "${LAYER}": values_in must be F32 \\(\\d+\\), the sum of the lengths in spans`,
);

describe("a folder with one length of a span too short is refused in one line", () => {
  test("by inspect, export and push, which leave nothing behind", async () => {
    const folder = changed("short", shortened);
    const runs = [
      await runVerb(addInspect, ["inspect", folder, "--plot", at("short.svg")]),
      await runVerb(addExport, ["export", folder, "--to", "dense", "--out", at("dense"), "--engine", "wasm"]),
      await runVerb(addPush, ["push", folder, "me/short", "--create"]),
    ];
    for (const { code, stdout, stderr } of runs) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(LINE);
      expect(stderr.trim()).not.toContain("\n");
    }
    expect([at("short.svg"), at("dense", "config.json")].filter((file) => existsSync(file))).toEqual([]);
    expect(readdirSync(at("hub"))).toEqual([]);
    await expect(describeModel(folder)).rejects.toThrow("values_in must be F32");
  });

  test("by inspect where it is on the Hub", async () => {
    const folder = changed("short-there", shortened);
    cpSync(folder, at("hub/models/tiny/short"), { recursive: true });
    const { code, stdout, stderr } = await runVerb(addInspect, ["inspect", "tiny/short"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(LINE);
  });

  test("and the folder as it was is not", async () => {
    const folder = changed("good", () => {});
    expect((await runVerb(addInspect, ["inspect", folder])).code).toBe(0);
    const pushed = await runVerb(addPush, ["push", folder, "me/good", "--create"]);
    expect({ code: pushed.code, stderr: pushed.stderr }).toMatchObject({ code: 0 });
  });
});

test.each<[string, (files: Files) => void, RegExp]>([
  [
    "a layer of config.json is not in trainable.safetensors",
    ({ trainable }) => trainable.splice(trainable.indexOf(tensor(trainable, `${LAYER}.widths`)), 1),
    /trainable\.safetensors: tensor "h\.0\.mlp\.c_fc\.widths": is missing$/,
  ],
  [
    "a tensor is in both files",
    ({ model, trainable }) => trainable.push(tensor(model, "ln_f.bias")),
    /trainable\.safetensors: tensor "ln_f\.bias": is also in model\.safetensors$/,
  ],
  [
    "the blocks to train are not as many as config.json says",
    ({ config }) => {
      (config.gblr.layers[LAYER] as Record<string, unknown>).blocks = 17;
    },
    /layer "h\.0\.mlp\.c_fc": lr_weight1 has 16 · 1 blocks of rank 1, config\.json says 17$/,
  ],
])("push looks at the trainable form too: %s", async (what, change, line) => {
  const folder = changed(what.replaceAll(/\W+/g, "-"), change);
  const { code, stderr } = await runVerb(addPush, ["push", folder, "me/trainable", "--create"]);
  expect(code).toBe(1);
  expect(stderr.trim()).toMatch(line);
});

test("push looks into folders within, and leaves other programs' models alone", async () => {
  changed("within/model", shortened);
  const { code, stderr } = await runVerb(addPush, ["push", at("within"), "me/within", "--create"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(LINE);
  mkdirSync(at("other"));
  writeFileSync(at("other", "config.json"), '{"model_type":"bert"}');
  writeFileSync(at("other", "model.safetensors"), "no tensors");
  expect((await runVerb(addPush, ["push", at("other"), "me/other", "--create"])).code).toBe(0);
});

test("a folder that transformers has saved again, with its prefix before all names, is the same model", async () => {
  const prefixed = (names: RegExp) => (files: Files) => {
    files.trainable = [];
    for (const each of files.model) if (names.test(each.name)) each.name = `transformer.${each.name}`;
  };
  const folder = changed("prefixed", prefixed(/./));
  rmSync(path.join(folder, "trainable.safetensors"));
  const { code, stdout } = await runVerb(addInspect, ["inspect", folder, "--json"]);
  expect(code).toBe(0);
  const names = (JSON.parse(stdout).layers as { name: string; structure: string }[])
    .filter(({ structure }) => structure === "gblr")
    .map(({ name }) => name);
  expect(names).toContain(`transformer.${LAYER}`);
  const exporting = ["export", folder, "--to", "dense", "--out", at("prefixed-dense"), "--engine", "wasm"];
  expect((await runVerb(addExport, exporting)).code).toBe(0);
  const mixture = changed("mixture", prefixed(/^h\.0\.mlp\.c_fc/));
  expect((await runVerb(addInspect, ["inspect", mixture])).stderr).toMatch(
    /layer "transformer\.h\.0\.mlp\.c_fc": has spans, values_in, values_out, but config\.json does not list it/,
  );
});

describe("what a file claims costs nothing before it is checked:", () => {
  const claims = (fields: Record<string, unknown>) => (files: Files) => {
    Object.assign(files.config.gblr.layers[LAYER] as Record<string, unknown>, fields);
  };
  const nothing = ({ model, config }: Files) => {
    tensor(model, `${LAYER}.spans`).shape = [4, 0];
    tensor(model, `${LAYER}.spans`).bytes = new Uint8Array(0);
    for (const part of ["values_in", "values_out"]) {
      Object.assign(tensor(model, `${LAYER}.${part}`), { shape: [0], bytes: new Uint8Array(0) });
    }
    delete (config.gblr.layers[LAYER] as Record<string, unknown>).shapes;
    model.splice(model.indexOf(tensor(model, `${LAYER}.bias`)), 1);
  };

  test.each<[string, (files: Files) => void, RegExp]>([
    ["sides that no mask can have", claims({ n_in: 2 ** 24 + 1 }), /n_in must be at most 16777216, is 16777217$/],
    ["more entries than can be counted", claims({ n_in: 2 ** 20, n_out: 2 ** 20 }), /n_in · n_out must be at most/],
    [
      "more blocks than entries",
      claims({ blocks: 2 ** 30 }),
      /blocks must be at most n_in · n_out, 512, is 1073741824$/,
    ],
    ["more samples than JSON can say", claims({ n_in: 1e300 }), /n_in must be a whole number from 1, is 1e\+300$/],
  ])("%s", async (what, change, line) => {
    const folder = changed(what.replaceAll(/\W+/g, "-"), change);
    const { code, stderr } = await runVerb(addInspect, ["inspect", folder]);
    expect(code).toBe(1);
    expect(stderr.trim()).toMatch(line);
  });

  test("the largest matrix without a block is inspected in little memory, and is no layer of the model", async () => {
    const folder = changed("largest", (files) => {
      nothing(files);
      claims({ n_in: 2 ** 24, n_out: 100, blocks: 0 })(files);
    });
    const start = process.memoryUsage().rss;
    const { code, stdout } = await runVerb(addInspect, ["inspect", folder, "--json"]);
    expect(code).toBe(0);
    const found = JSON.parse(stdout).layers.find(({ name }: { name: string }) => name === LAYER);
    expect(found).toMatchObject({ nIn: 2 ** 24, nOut: 100, blocks: { live: 0, uncovered: 1 } });
    expect(process.memoryUsage().rss - start).toBeLessThan(6e8);
    const exporting = ["export", folder, "--to", "dense", "--out", at("largest-dense"), "--engine", "wasm"];
    expect((await runVerb(addExport, exporting)).stderr).toMatch(/must have n_in × n_out = 16 × 32, has/);
  });

  test("a thousand million layers", async () => {
    const folder = changed("layers", ({ config }) => Object.assign(config, { n_layer: 1e9 }));
    const exporting = ["export", folder, "--to", "dense", "--out", at("layers-dense"), "--engine", "wasm"];
    expect((await runVerb(addExport, exporting)).stderr).toMatch(/config\.json: n_layer is 1000000000: /);
  });
});

describe("what tensors are without a config.json that says so", () => {
  test("is one of the structures' names in a lone file, and refused in a folder that is to be loaded", async () => {
    const names = new Set<string>();
    for (const [layer, structure] of [
      ["h.0.attn.c_attn", "block-low-rank"],
      ["h.0.mlp.c_fc", "block-sparse"],
      ["h.1.mlp.c_proj", "lowrank"],
    ] as const) {
      const folder = changed(
        `bare-${structure}`,
        ({ model }) => {
          model.splice(
            0,
            model.length,
            ...model.filter(({ name }) => name.startsWith(`${layer}.`) || name.startsWith("w")),
          );
        },
        "gpt2-factored",
      );
      writeFileSync(path.join(folder, "config.json"), '{"model_type":"gpt2"}');
      const { stdout } = await runVerb(addInspect, ["inspect", path.join(folder, "model.safetensors"), "--json"]);
      const [found] = JSON.parse(stdout).layers as { structure: string }[];
      expect(found?.structure).toBe(structure);
      names.add(found?.structure ?? "");
    }
    expect(names.size).toBe(3);
    const folder = changed("unlisted", () => {}, "gpt2-factored");
    const { gblr: _, ...config } = JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8"));
    writeFileSync(path.join(folder, "config.json"), JSON.stringify({ ...config, model_type: "gpt2" }));
    const exporting = ["export", folder, "--to", "dense", "--out", at("unlisted-dense"), "--engine", "wasm"];
    expect((await runVerb(addExport, exporting)).stderr).toMatch(
      /tensor "h\.0\.attn\.c_attn": has first, second, but config\.json does not give its structure/,
    );
  });
});
