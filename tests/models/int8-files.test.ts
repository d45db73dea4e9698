// Models in int8 in files (version 3 of the format): what is rounded and how, what is not, and what is computed from it.
// The rounding is computed again here in float64, and outputs are compared with those of PyTorch and transformers.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, statSync, writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { checkModelFolder } from "../../hub/model-folder/index.ts";
import { type StoredTensor, toFloat32 } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf, writeSafetensors } from "../../hub/safetensors/write.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import {
  classifierLogits,
  layersKeptExact,
  type Model,
  type SavedType,
  saveModelNow,
} from "../../workbench/models/index.ts";
import { smallVit, someImages } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python/python.ts";
import { IDS } from "./old-folders/inputs.ts";
import { cancelling, configIn, logitsOf, relativeError } from "./rounded.ts";
import { livelier, structured, taken, tinyGpt2, valuesOf } from "./tiny.ts";

const at = temporaryFolder();
const torch = pythonWith("torch");
const transformers = pythonWith("torch", "transformers");
const LAYERS = {
  "h.0.attn.c_attn": "gblr",
  "h.0.mlp.c_fc": "lowrank",
  "h.0.mlp.c_proj": "block-sparse",
  "h.1.attn.c_attn": "pifa",
};
const EXACT = "h.1.mlp.c_proj";
const FOLDERS: readonly SavedType[] = ["float32", "int8"];

const weightsIn = (folder: string) => readSafetensors(`${folder}/model.safetensors`);

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const model = livelier(tinyGpt2({ n_inner: 32 }));
  for (const dtype of FOLDERS) await saveModelNow(model, at("dense", dtype), { dtype });
  for (const [layer, structure] of Object.entries(LAYERS)) await structured(model, [layer], structure);
  cancelling(model, EXACT);
  expect(await layersKeptExact(model as Model, "int8")).toEqual([EXACT]);
  for (const dtype of FOLDERS) await saveModelNow(model, at("structured", dtype), { dtype });
  model.dispose();
});

test.each(["dense", "structured"])("a %s model: matrices and factors are rounded group by group", async (kind) => {
  const [exact, small] = [await weightsIn(at(kind, "float32")), await weightsIn(at(kind, "int8"))];
  const kept: string[] = [];
  for (const [name, whole] of exact) {
    const { dtype, shape, data } = small.get(name) as StoredTensor;
    expect(shape).toEqual(whole.shape);
    if (dtype === whole.dtype) {
      kept.push(name);
      expect(data).toEqual(whole.data);
      continue;
    }
    const scales = small.get(`${name}_scales`) as StoredTensor;
    expect({ dtype, scales: scales.dtype }).toEqual({ dtype: "I8", scales: "BF16" });
    const [values, found] = [[...(whole.data as Float32Array)], toFloat32(scales)];
    expect(found).toHaveLength(Math.ceil(values.length / 32));
    for (const [group, scale] of found.entries()) {
      const own = values.slice(32 * group, 32 * group + 32);
      const least = Math.max(...own.map(Math.abs)) / 127;
      // Rounded to 8 significant bits.
      expect(Math.abs(scale / least - 1)).toBeLessThanOrEqual(2 ** -8);
      for (const [i, value] of own.entries()) {
        const integer = data[32 * group + i] as number;
        expect(Math.abs(integer * scale - value)).toBeLessThanOrEqual(scale / 2 + 1e-9);
      }
    }
  }
  const vectors = kept.filter((name) => exact.get(name)?.shape.length === 1);
  const others = kept.filter((name) => !vectors.includes(name));
  expect(others).toEqual(kind === "dense" ? [] : ["h.0.attn.c_attn.spans", `${EXACT}.spans`]);
  expect(vectors).toContain("ln_f.weight");
  expect(vectors.filter((name) => /values|order/.test(name)).sort()).toEqual(
    kind === "dense" ? [] : ["h.1.attn.c_attn.order", `${EXACT}.values_in`, `${EXACT}.values_out`],
  );
  expect(configIn(at(kind, "int8"))).toMatchObject({ torch_dtype: "float32", gblr: { format: 3 } });
  const size = (dtype: string) => statSync(at(kind, dtype, "model.safetensors")).size;
  expect(size("int8") / size("float32")).toBeLessThan(0.6);
});

test.each(["dense", "structured"])("the outputs of a %s model are close to those of float32", async (kind) => {
  const error = relativeError(await logitsOf(at(kind, "int8")), await logitsOf(at(kind, "float32")));
  expect(error).toBeLessThan(0.04);
  expect(error).toBeGreaterThan(1e-4);
});

forEachEngine("a model in int8", () => {
  test("has the products of integers and scales, exactly", async () => {
    const small = await weightsIn(at("dense", "int8"));
    const model = await loadModelNow(at("dense", "int8"));
    for (const [name, values] of await valuesOf(model)) {
      const scales = small.get(`${name}_scales`);
      if (!scales) continue;
      const { data } = small.get(name) as StoredTensor;
      const found = toFloat32(scales);
      const expected = Float32Array.from(values, (_, i) => (data[i] as number) * (found[i >> 5] as number));
      expect(values).toEqual(expected);
    }
    model.dispose();
  });

  test("that was loaded is saved in float32 with these values, and in int8 with the same bytes", async () => {
    const folder = (name: string) => at(`${name} ${tf.getBackend()}`);
    for (const kind of ["dense", "structured"]) {
      const model = await loadModelNow(at(kind, "int8"));
      await saveModelNow(model, folder(`${kind} whole`));
      await saveModelNow(model, folder(`${kind} again`), { dtype: "int8" });
      model.dispose();
      const [first, again] = [await weightsIn(at(kind, "int8")), await weightsIn(folder(`${kind} again`))];
      for (const [name, { data }] of first)
        expect({ name, data: again.get(name)?.data }).toEqual({ name, data } as never);
      expect(configIn(folder(`${kind} whole`)).gblr?.format).toBe(kind === "dense" ? undefined : 1);
      expect([...(await weightsIn(folder(`${kind} whole`))).values()].some(({ dtype }) => dtype === "I8")).toBe(false);
    }
  });
});

test("an image model is read in int8 too, with tensors that hold several layers", async () => {
  const vit = smallVit();
  await saveModelNow(vit, at("vit"), { dtype: "int8" });
  expect((await weightsIn(at("vit"))).get("blocks.0.attn.qkv.weight")?.dtype).toBe("I8");
  const back = (await loadModelNow(at("vit"))) as typeof vit;
  const images = someImages(2, 16);
  const [expected, found] = [
    await taken(tf.tidy(() => classifierLogits(vit, images))),
    await taken(tf.tidy(() => classifierLogits(back, images))),
  ];
  const error = relativeError(found, expected);
  expect(error).toBeLessThan(0.05);
  expect(error).toBeGreaterThan(0);
  tf.dispose(images);
  vit.dispose();
  back.dispose();
});

test("a value that is not finite is refused by name, and nothing is written", async () => {
  const model = tinyGpt2();
  const weight = model.parameter("wte.weight");
  tf.tidy(() => weight.assign(tf.fill(weight.shape, Number.POSITIVE_INFINITY)));
  const refused = (await saveModelNow(model, at("infinite"), { dtype: "int8" }).catch(
    (error: Error) => error,
  )) as Error;
  expect(refused.message).toContain('tensor "wte.weight": has a value that is not finite, which int8 cannot store');
  model.dispose();
});

/** A copy of a folder with other tensors or another version. */
async function changed(
  name: string,
  { format = 3, change = () => {} }: { format?: number; change?: (tensors: Map<string, StoredTensor>) => void },
): Promise<string> {
  cpSync(at("structured", "int8"), at(name), { recursive: true });
  const config = configIn(at(name));
  writeFileSync(at(name, "config.json"), JSON.stringify({ ...config, gblr: { ...config.gblr, format } }));
  const tensors = await weightsIn(at(name));
  change(tensors);
  await writeSafetensors(at(name, "model.safetensors"), sourcesOf(tensors));
  return at(name);
}

const SCALES = "h.0.mlp.c_fc.left_scales";
const BROKEN: readonly [string, Parameters<typeof changed>[1], RegExp, RegExp][] = [
  ["under version 2", { format: 2 }, /must be F32 or F16 or BF16 .*, is I8 /, /is I8, which needs gblr\.format 3/],
  [
    "without scales",
    { change: (tensors) => tensors.delete(SCALES) },
    /is I8, so h\.0\.mlp\.c_fc\.left_scales must be BF16 \(\d+\), is missing/,
    /is I8, so h\.0\.mlp\.c_fc\.left_scales must be BF16 \(\d+\), is missing/,
  ],
  [
    "with too few scales",
    { change: (tensors) => tensors.set(SCALES, { dtype: "BF16", shape: [1], data: new Uint16Array(1) }) },
    /left_scales must be BF16 \(\d+\), is BF16 \(1\)/,
    /left_scales must be BF16 \(\d+\), is BF16 \(1,\)/,
  ],
];

test.each(BROKEN)("int8 %s is refused in one line", async (name, options, expected) => {
  const folder = await changed(`broken ${name}`, options);
  for (const refuse of [checkModelFolder, loadModelNow]) {
    const error = (await refuse(folder).catch((each: Error) => each)) as Error;
    expect(error.message).toMatch(expected);
    expect(error.message).not.toContain("\n");
  }
});

test.skipIf(!torch)(
  "Python computes the same from int8, and refuses the same",
  async () => {
    const broken = await Promise.all(BROKEN.map(([name, options]) => changed(`python ${name}`, options)));
    const folders = [at("dense", "int8"), at("structured", "int8"), ...broken];
    const input = JSON.stringify({
      ids: IDS,
      images: {},
      cases: folders.map((folder) => ({ folder, size: null, form: "auto" })),
    });
    type Answer = { logits?: number[]; refusal?: string };
    const answers = await askPython<Answer[]>(torch, "folder_logits.py", { args: [SOURCES], input });
    for (const [i, folder] of folders.slice(0, 2).entries()) {
      expect(answers[i]?.refusal).toBeUndefined();
      expect(relativeError(answers[i]?.logits ?? [], await logitsOf(folder))).toBeLessThan(1e-5);
    }
    for (const [i, [, , , expected]] of BROKEN.entries()) expect(answers[2 + i]?.refusal).toMatch(expected);
  },
  PATIENCE,
);

test.skipIf(!transformers)(
  "transformers computes the same from int8, with the code of the folder",
  async () => {
    const env = { HF_HUB_OFFLINE: "1", HF_HOME: at("home") };
    for (const kind of ["dense", "structured"]) {
      const folder = at(kind, "int8");
      const args = [JSON.stringify([IDS]), `${folder}:transformers`];
      const [found] = await askPython<{ logits: number[]; again: number[] }[]>(transformers, "logits.py", {
        args,
        env,
      });
      const expected = await logitsOf(folder);
      expect(relativeError(found?.logits ?? [], expected)).toBeLessThan(1e-5);
      expect(relativeError(found?.again ?? [], expected)).toBeLessThan(1e-5);
    }
  },
  PATIENCE,
);
