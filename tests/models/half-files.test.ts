// Structured models in half precision in files (version 2 of the format): what is rounded, what is not, and what is
// computed from it. Rounded values are compared with those of the float32 file, one by one.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, writeFileSync } from "node:fs";
import { checkModelFolder } from "../../hub/model-folder/index.ts";
import { fromFloat32, type StoredTensor } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { layersKeptExact, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python/python.ts";
import { IDS } from "./old-folders/inputs.ts";
import { cancelling, configIn, logitsOf, relativeError } from "./rounded.ts";
import { livelier, structured, tinyGpt2 } from "./tiny.ts";

const at = temporaryFolder();
const torch = pythonWith("torch");
const LAYERS = { "h.0.attn.c_attn": "gblr", "h.0.mlp.c_fc": "lowrank", "h.1.attn.c_attn": "pifa" };
const TYPES = { bfloat16: "BF16", float16: "F16" } as const;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const model = livelier(tinyGpt2({ n_inner: 32 }));
  for (const [layer, structure] of Object.entries(LAYERS)) await structured(model, [layer], structure);
  cancelling(model, "h.1.mlp.c_proj");
  expect(await layersKeptExact(model as Model)).toEqual(["h.1.mlp.c_proj"]);
  for (const dtype of ["float32", "bfloat16", "float16"] as const) await saveModelNow(model, at(dtype), { dtype });
  const refused = saveModelNow(model, at("refused"), { dtype: "float16", trainable: true });
  expect((await refused.catch((error: Error) => error)) as Error).toMatchObject({
    message: `${at("refused")}: the trainable form is stored in float32; leave out either`,
  });
  model.dispose();
});

test.each(["bfloat16", "float16"] as const)("%s rounds each value to nearest, and leaves the rest", async (dtype) => {
  const [exact, half] = [
    await readSafetensors(at("float32", "model.safetensors")),
    await readSafetensors(at(dtype, "model.safetensors")),
  ];
  expect([...half.keys()].toSorted()).toEqual([...exact.keys()].toSorted());
  const kept: string[] = [];
  for (const [name, stored] of half) {
    const whole = exact.get(name) as StoredTensor;
    if (stored.dtype === whole.dtype) {
      kept.push(name);
      expect(stored.data).toEqual(whole.data);
      continue;
    }
    expect(stored.dtype).toBe(TYPES[dtype]);
    const rounded = fromFloat32(whole.data as Float32Array, { dtype: TYPES[dtype], shape: whole.shape });
    expect(stored.data).toEqual(rounded.data);
  }
  expect(kept.toSorted()).toEqual([
    "h.0.attn.c_attn.spans",
    "h.1.attn.c_attn.order",
    "h.1.mlp.c_proj.spans",
    "h.1.mlp.c_proj.values_in",
    "h.1.mlp.c_proj.values_out",
  ]);
  expect(configIn(at(dtype))).toMatchObject({ torch_dtype: "float32", gblr: { format: 2 } });
  expect(configIn(at("float32")).gblr.format).toBe(1);
});

test("outputs are those of the rounded values, close to those of float32", async () => {
  const expected = await logitsOf(at("float32"));
  expect(relativeError(await logitsOf(at("bfloat16")), expected)).toBeLessThan(0.03);
  expect(relativeError(await logitsOf(at("float16")), expected)).toBeLessThan(0.004);
  expect(relativeError(await logitsOf(at("bfloat16")), expected)).toBeGreaterThan(1e-5);
});

test("a packed model that was loaded is saved in half precision too, with the same layers in float32", async () => {
  const model = await loadModelNow(at("float32"));
  expect(await layersKeptExact(model)).toEqual(["h.1.mlp.c_proj"]);
  await saveModelNow(model, at("again"), { dtype: "bfloat16" });
  model.dispose();
  const [first, again] = [
    await readSafetensors(at("bfloat16", "model.safetensors")),
    await readSafetensors(at("again", "model.safetensors")),
  ];
  for (const [name, { data }] of first) expect(again.get(name)?.data).toEqual(data as never);
});

test("half precision under version 1 is refused in one line", async () => {
  cpSync(at("bfloat16"), at("old"), { recursive: true });
  const config = configIn(at("old"));
  writeFileSync(at("old", "config.json"), JSON.stringify({ ...config, gblr: { ...config.gblr, format: 1 } }));
  const error = (await checkModelFolder(at("old")).catch((each: Error) => each)) as Error;
  expect(error.message).toMatch(/layer "h\.0\.\S+": \S+ must be F32 \(.*\), is BF16 \([\d, ]+\)$/);
});

test.skipIf(!torch)(
  "Python computes the same from half precision",
  async () => {
    const cases = ["bfloat16", "float16", "old"].map((name) => ({ folder: at(name), size: null, form: "auto" }));
    const input = JSON.stringify({ ids: IDS, images: {}, cases });
    type Answer = { logits?: number[]; refusal?: string };
    const answers = await askPython<Answer[]>(torch, "folder_logits.py", { args: [SOURCES], input });
    for (const [i, dtype] of ["bfloat16", "float16"].entries()) {
      expect(answers[i]?.refusal).toBeUndefined();
      expect(relativeError(answers[i]?.logits ?? [], await logitsOf(at(dtype)))).toBeLessThan(1e-5);
    }
    expect(answers[2]?.refusal).toMatch(/must be F32 of shape .*, is BF16/);
  },
  PATIENCE,
);
