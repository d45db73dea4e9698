// Model folders that we write, read by PyTorch with the Python files that lie in them: logits must be ours. Every
// structure, both forms, smooth masks, shards, heads tied and not; folders that are damaged are refused.

import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { baseModelType, pythonConfig, pythonFiles } from "../../hub/python/index.ts";
import { openTensors, type StoredTensor } from "../../hub/safetensors/index.ts";
import { readAll } from "../../hub/safetensors/read.ts";
import { encodeSafetensors, sourcesOf } from "../../hub/safetensors/write.ts";
import { modelTypesOf } from "../../workbench/architectures/architecture.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { ARCHITECTURES, saveModelNow } from "../../workbench/models/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, runPython, SOURCES } from "./python.ts";
import { IDS, logitsOf, smallModel } from "./small-models.ts";

const torch = pythonWith("torch");
const transformers = pythonWith("torch", "transformers");
const at = temporaryFolder();
/** a folder that is as it should be, once there is one */
let good: string | undefined;
const FIXTURES = path.join(import.meta.dir, "../fixtures/gblr");

interface Answer {
  logits: number[];
  trains: string[];
  error?: string;
  class?: string;
  cached?: number[][];
  whole?: number[][];
  again?: number[];
}

const IDS_TEXT = JSON.stringify(IDS);

/** @param cases folders, each with a form and a mode behind colons */
const ask = (python: string | undefined, cases: string[], env: Record<string, string> = {}): Promise<Answer[]> =>
  askPython(python, "logits.py", { args: [IDS_TEXT, ...cases], env });

function expectLogits(logits: ArrayLike<number>, truth: Float32Array): void {
  expect(logits.length).toBe(truth.length);
  const deviation = truth.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (logits[i] as number))), 0);
  expect(deviation).toBeLessThan(1e-4);
  expect(Math.max(...truth.map(Math.abs))).toBeGreaterThan(1);
}

const SETTINGS = {
  boxcar: {},
  smooth: { sigma: 6 },
  untied: { config: { tie_word_embeddings: false, n_inner: 40, activation_function: "gelu" } },
};

forEachEngine("a folder that we wrote", (_, { label }) => {
  const inEngine = (name: string) => at(label.replaceAll(/\W/g, "-"), name);
  const truths = new Map<string, Float32Array>();

  beforeAll(async () => {
    if (!torch) return;
    for (const [name, settings] of Object.entries(SETTINGS)) {
      const model = await smallModel(settings);
      await saveModelNow(model, inEngine(name), { trainable: true });
      await saveModelNow(model, inEngine(`${name}-sharded`), { maxShardBytes: 8000 });
      model.dispose();
      const packed = await loadModelNow(inEngine(name), { form: "packed" });
      truths.set(name, await logitsOf(packed));
      good ??= inEngine(name);
      packed.dispose();
    }
  }, PATIENCE);

  test.skipIf(!torch)(
    "gives our logits in PyTorch: packed both ways, trainable, sharded",
    async () => {
      const forms = [":packed", ":packed:packed", ":trainable", ":auto:packed", "-sharded"];
      for (const name of Object.keys(SETTINGS)) {
        const answers = await ask(
          torch,
          forms.map((form) => inEngine(name) + form),
        );
        for (const [i, { logits, trains }] of answers.entries()) {
          expectLogits(logits, truths.get(name) as Float32Array);
          expect(trains.includes("widths")).toBe(forms[i] === ":trainable");
          expect(trains.includes("lr_weight1")).toBe(forms[i] === ":trainable");
        }
        const shards = readdirSync(inEngine(`${name}-sharded`)).filter((file) => file.endsWith(".safetensors"));
        expect(shards.length).toBeGreaterThan(3);
      }
    },
    PATIENCE,
  );

  test.skipIf(!transformers)(
    "gives our logits under transformers, and the same text with and without its cache",
    async () => {
      const names = ["boxcar", "untied", "smooth-sharded"];
      const cases = names.map((name) => `${inEngine(name)}:transformers`);
      const offline = { HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface") };
      for (const [i, found] of (await ask(transformers, cases, offline)).entries()) {
        expectLogits(found.logits, truths.get(names[i]?.replace("-sharded", "") ?? "") as Float32Array);
        expect(found.class).toBe("GblrGPT2LMHeadModel");
        expect(found.cached?.[0]?.length).toBe(8);
        expect(found.cached).toEqual(found.whole);
        expect(found.again?.length).toBe(found.logits.length);
        expectLogits(found.again ?? [], truths.get(names[i]?.replace("-sharded", "") ?? "") as Float32Array);
      }
    },
    PATIENCE,
  );
});

describe("the Python layers", () => {
  test.skipIf(!torch)(
    "agree with the reference's masks, gradients and layers",
    async () => {
      const found = await askPython<{ [group: string]: { [what: string]: number | boolean } }>(
        torch,
        "check_layers.py",
        { args: [SOURCES, FIXTURES] },
      );
      expect(found.masks?.cases).toBe(468);
      expect(found.masks?.mask).toBeLessThan(2e-6);
      expect(found.masks?.gradient).toBeLessThan(5e-5);
      expect(found.layers?.checked).toBe(12);
      expect(found.layers?.output).toBeLessThan(2e-5);
      expect(found.layers?.gradient).toBeLessThan(5e-5);
      expect(found.packed?.ways).toBeLessThan(1e-5);
      expect(found.packed?.matrix).toBeLessThan(1e-5);
      expect(found.packed?.kept).toBe(true);
      expect(found.packed?.doubled).toBeLessThan(1e-6);
    },
    PATIENCE,
  );
});

describe("a damaged folder", () => {
  const source = () => good as string;

  /** A copy of a good folder with one file changed. */
  function damaged(name: string, change: (folder: string) => void): string {
    const folder = at("damaged", name);
    cpSync(source(), folder, { recursive: true });
    change(folder);
    return folder;
  }

  async function withTensors(
    name: string,
    change: (tensors: Awaited<ReturnType<typeof readAll>>) => void,
  ): Promise<string> {
    const file = await openTensors(source());
    const tensors = await readAll(file);
    await file.close();
    change(tensors);
    const bytes = await encodeSafetensors(sourcesOf(tensors));
    return damaged(name, (folder) => writeFileSync(path.join(folder, "model.safetensors"), bytes));
  }

  test.skipIf(!torch)(
    "is refused in one line that names the tensor and the rule",
    async () => {
      const layer = "h.0.attn.c_attn";
      const cut = (folder: string) => {
        const file = path.join(folder, "model.safetensors");
        writeFileSync(file, readFileSync(file).subarray(0, -10));
      };
      const otherModel = (folder: string) => {
        const config = path.join(folder, "config.json");
        writeFileSync(
          config,
          readFileSync(config, "utf8").replace('"model_type": "gpt2"', '"model_type": "gblr_gemma"'),
        );
      };
      const cases: [folder: string, message: RegExp][] = [
        [damaged("cut", cut), /model\.safetensors: must be \d+ bytes long, as its header says, is \d+$/],
        [
          await withTensors("outside", (tensors) => {
            (tensors.get(`${layer}.spans`)?.data as Int32Array)[0] = 24;
          }),
          /layer "h\.0\.attn\.c_attn": spans: start_in must be in 0 \.\.\. 23, block 0 has/,
        ],
        [
          await withTensors("long", (tensors) => {
            const { data, shape } = tensors.get(`${layer}.spans`) as StoredTensor & { dtype: "I32" };
            const at = (shape[1] as number) * 3;
            data[at] = (data[at] as number) > 2 ? 2 : 3;
          }),
          /values_out must have \d+ values by the lengths in spans, has \d+$/,
        ],
        [
          await withTensors("missing", (tensors) => void tensors.delete("h.1.ln_2.weight")),
          /tensor "h\.1\.ln_2\.weight": is missing from the files$/,
        ],
        [
          await withTensors("half", (tensors) => void tensors.delete("h.0.mlp.c_proj.left")),
          /tensor "h\.0\.mlp\.c_proj\.left": is missing; a layer of structure lowrank has one$/,
        ],
        [
          damaged("other", otherModel),
          /config\.json: unknown model_type "gemma"; available: gpt2, llama, mistral, mixer, qwen2, qwen3, resnet, smollm3, vit$/,
        ],
        [
          damaged("none", (folder) => writeFileSync(path.join(folder, "config.json"), "{")),
          /config\.json: is not JSON$/,
        ],
      ];
      cases.push([
        damaged("claims", (folder) => {
          const config = path.join(folder, "config.json");
          writeFileSync(config, readFileSync(config, "utf8").replace('"n_layer": 3', '"n_layer": 1000000000'));
        }),
        /config\.json: "n_layer" is 1000000000, but the files have only \d+ tensors$/,
      ]);
      const answers = await ask(torch, [source(), ...cases.map(([folder]) => folder)]);
      expect(answers.shift()?.error).toBeUndefined();
      for (const [i, [, message]] of cases.entries()) {
        expect(answers[i]?.error).toMatch(message);
        expect(answers[i]?.error).not.toContain("\n");
      }
    },
    PATIENCE,
  );

  test.skipIf(!transformers)(
    "is refused under transformers too",
    async () => {
      const layer = "h.0.attn.c_attn";
      const configured = (name: string, from: string, to: string) =>
        damaged(name, (folder) => {
          const config = path.join(folder, "config.json");
          writeFileSync(config, readFileSync(config, "utf8").replace(from, to));
        });
      const cases: [folder: string, message: RegExp][] = [
        [
          await withTensors("transformers-short", (tensors) => {
            const { data, shape } = tensors.get(`${layer}.spans`) as StoredTensor & { dtype: "I32" };
            data[shape[1] as number] = (data[shape[1] as number] as number) - 1;
          }),
          /^layer "h\.0\.attn\.c_attn": values_in must have \d+ values by the lengths in spans, has \d+$/,
        ],
        [
          await withTensors("transformers-doubled", (tensors) => {
            tensors.set(`${layer}.weight`, { dtype: "F32", shape: [24, 72], data: new Float32Array(24 * 72) });
          }),
          /^layer "h\.0\.attn\.c_attn": has two forms: it has spans, values_in, values_out, weight$/,
        ],
        [
          configured("transformers-newer", '"format": 1', '"format": 4'),
          /"gblr\.format" must be 1, 2 or 3, is 4; a newer version/,
        ],
        [
          configured("transformers-unknown", '"structure": "monarch"', '"structure": "toeplitz"'),
          /^layer "h\.1\.attn\.c_attn": structure must be one of gblr, lowrank, .*, is 'toeplitz'$/,
        ],
      ];
      const offline = { HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface") };
      const asked = [source(), ...cases.map(([folder]) => folder)].map((folder) => `${folder}:transformers`);
      const answers = await ask(transformers, asked, offline);
      expect(answers.shift()?.error).toBeUndefined();
      for (const [i, [, message]] of cases.entries()) expect(answers[i]?.error).toMatch(message);
    },
    PATIENCE,
  );
});

/** As saving a model does. */
const classed = (json: Record<string, unknown>, structured: boolean) => {
  const type = baseModelType(String(json.model_type));
  return pythonConfig(json, structured, ARCHITECTURES.find((each) => modelTypesOf(each).includes(type))?.python);
};

const TEXT_MODELS = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "smollm3"];

describe("the Python files", () => {
  test("are there under the names that config.json points to", async () => {
    const files = await pythonFiles();
    expect(files.map(({ name }) => name)).toEqual(["configuration_gblr.py", "modeling_gblr.py"]);
    const kinds = [
      ...TEXT_MODELS.concat("vit", "resnet").map((model_type) => ({ model_type })),
      ...["vit", "resnet", "mixer"].map((model_type) => ({ model_type, architecture: "timm's name" })),
    ];
    for (const kind of kinds) {
      const { auto_map, model_type, architectures } = classed(kind, true) as {
        auto_map: Record<string, string>;
        model_type: string;
        architectures: string[];
      };
      expect(model_type).toBe("architecture" in kind ? `gblr_${kind.model_type}` : kind.model_type);
      for (const reference of Object.values(auto_map)) {
        const [module, name] = reference.split(".") as [string, string];
        const source = files.find((file) => file.name === `${module}.py`);
        expect(source?.text).toMatch(new RegExp(`^ *class ${name}\\(`, "m"));
      }
      const auto = `AutoModelFor${TEXT_MODELS.includes(kind.model_type) ? "CausalLM" : "ImageClassification"}`;
      expect(auto_map[auto]?.split(".")[1]).toBe(architectures[0] as string);
      const config = auto_map.AutoConfig?.split(".")[1];
      const [, text] = files[0]?.text.split(`class ${config}(`) ?? [];
      const saysType = text?.split("class ")[0]?.includes(`model_type = "${model_type}"`);
      expect(saysType || /^_Guarded(Llama)?, /.test(text ?? "")).toBe(true);
    }
    // transformers copies only those files of a folder that the first one names so.
    expect(files[1]?.text).toContain("from .configuration_gblr import (");
  });

  test("replace those that earlier versions wrote, and leave others", async () => {
    const folder = at("earlier");
    mkdirSync(folder);
    for (const name of ["gblr_load.py", "gblr_images.py", "my_own.py", "modeling_gblr.py"]) {
      writeFileSync(`${folder}/${name}`, "# old");
    }
    await saveModelNow(await loadModelNow(good as string), folder);
    const names = readdirSync(folder).filter((name) => name.endsWith(".py"));
    expect(names.sort()).toEqual(["configuration_gblr.py", "modeling_gblr.py", "my_own.py"]);
    expect(readFileSync(`${folder}/modeling_gblr.py`, "utf8")).not.toBe("# old");
  });

  test("leave no trace in the config of a dense model", () => {
    const dense = { model_type: "gpt2", n_layer: 2, architectures: ["GPT2LMHeadModel"] };
    const structured = classed(dense, true);
    expect(structured.model_type).toBe("gpt2");
    expect(structured.attn_implementation).toContain("needs trust_remote_code=True");
    expect(classed(structured, false)).toMatchObject(dense);
    expect(classed(structured, false).auto_map).toBeUndefined();
    const timm = { model_type: "vit", architecture: "vit_tiny_patch16_224", pretrained_cfg: { crop_pct: 0.9 } };
    expect(classed(timm, true)).toMatchObject({ ...timm, model_type: "gblr_vit" });
    expect(classed(classed(timm, true), false)).toEqual(timm);
    const own = { model_type: "resnet", depths: [1], architectures: ["ResNetForImageClassification"] };
    expect(classed(classed(own, true), false)).toEqual(own);
    // Python has no class for it: the name keeps transformers from filling layers that it does not find at random.
    expect(classed({ model_type: "gemma", x: 1 }, true)).toEqual({ model_type: "gblr_gemma", x: 1 });
  });

  const python = pythonWith("ast");

  test.skipIf(!python)(
    "can be imported without torch or transformers where they need neither, and are Python 3.9",
    async () => {
      const files = await pythonFiles();
      for (const { name, text } of files) writeFileSync(at(name), text);
      const code = [
        "import ast, sys",
        `sys.path.insert(0, ${JSON.stringify(at())})`,
        // Importing them must not be what finds the libraries: it is as if they were not installed.
        "sys.modules['transformers'] = sys.modules['torch'] = None",
        "from configuration_gblr import GblrGPT2Config",
        "config = GblrGPT2Config(n_layer=2, gblr={'layers': {}})",
        "assert (config.model_type, config.n_layer, config.n_head) == ('gpt2', 2, 12)",
        "for name in sys.argv[1:]: ast.parse(open(name).read(), feature_version=(3, 9))",
        // A name that is bound twice at the top would be two modules' own.
        "import collections",
        "for name in sys.argv[1:]:",
        "    tree = ast.parse(open(name).read())",
        "    kinds = (ast.FunctionDef, ast.ClassDef)",
        "    names = collections.Counter(node.name for node in tree.body if isinstance(node, kinds))",
        "    assert max(names.values()) == 1, names",
      ].join("\n");
      const args = files.map(({ name }) => at(name));
      expect(await runPython(python, code, { args })).toEqual({ status: 0, stdout: "", stderr: "" });
    },
    PATIENCE,
  );
});
