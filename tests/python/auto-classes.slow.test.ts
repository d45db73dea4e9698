// What transformers loads of a structured model without leave to run code, each in a process of its own whose input is
// closed: tokenizer, image processor and configuration, with not a word on stderr; and that the model itself is refused.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";

import { writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { openTokenizer } from "../../workbench/data/tokenizer/open-tokenizer.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { FAMILIES, smallLlama } from "./llama/small-llamas.ts";
import { PATIENCE, pythonWith, runPython } from "./python.ts";
import { smallModel } from "./small-models.ts";
import { KINDS, saveKind } from "./small-vision-folders.ts";

const python = pythonWith("torch", "transformers", "torchvision");
const at = temporaryFolder();

const PROCESSOR = {
  image_processor_type: "ViTImageProcessor",
  size: { height: 16, width: 16 },
  image_mean: [0.5, 0.4, 0.3],
  image_std: [0.2, 0.3, 0.4],
};
const TEXT = "one two  three, four's ñ 日本\n";

beforeAll(async () => {
  if (!python) return;
  await openEngine(ENGINES[0]?.options);
  await writeTokenizer(at("base"), ["one", " two", " three"]);
  for (const name of TEXT_MODELS) {
    const model =
      name === "gpt2" ? await smallModel({ config: { bos_token_id: 0, eos_token_id: 0 } }) : await smallLlama(name);
    await saveModelNow(model as Model, at(name), { base: { folder: at("base") } });
    cpSync(at(name), at(`${name}, only tokenizer.json`), { recursive: true });
    rmSync(at(`${name}, only tokenizer.json`, "tokenizer_config.json"));
    model.dispose();
  }
  for (const name of ["vit", "resnet"]) {
    const kind = KINDS[`${name}, hugging face`] as (typeof KINDS)[string];
    await saveKind(kind, { folder: at(name), what: "gblr", processor: PROCESSOR });
  }
}, PATIENCE);

const TEXT_MODELS = ["gpt2", ...Object.keys(FAMILIES)];
const KINDS_OF_MODEL = {
  ...Object.fromEntries(TEXT_MODELS.map((name) => [name, "AutoModelForCausalLM"])),
  vit: "AutoModelForImageClassification",
  resnet: "AutoModelForImageClassification",
};

/** Starting Python takes longest: one process for all models. Its input is closed, so that it can be asked nothing. */
async function ask<Answer>(code: string): Promise<{ answer: Answer; stderr: string }> {
  const models = Object.entries(KINDS_OF_MODEL).map(([name, auto]) => [auto, at(name), at(`${name} again`)]);
  const { status, stdout, stderr } = await runPython(python, `import json, sys\nimport transformers\n${code}`, {
    args: [JSON.stringify(models)],
    env: { HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface"), HF_HUB_DISABLE_PROGRESS_BARS: "1" },
  });
  if (status !== 0) throw new Error(stderr);
  return { answer: JSON.parse(stdout) as Answer, stderr };
}

test.skipIf(!python)(
  "tokenizers, image processors and configurations load without leave to run code, and without a word",
  async () => {
    const quoted = (name: string) => JSON.stringify(at(name));
    const tokenizers = TEXT_MODELS.flatMap((name) => [at(name), at(`${name}, only tokenizer.json`)]);
    const { answer, stderr } = await ask<object>(`
print(json.dumps({
    "ids": [transformers.AutoTokenizer.from_pretrained(folder)(${JSON.stringify(TEXT)})["input_ids"]
            for folder in ${JSON.stringify(tokenizers)}],
    "processors": [transformers.AutoImageProcessor.from_pretrained(folder).image_mean
                   for folder in (${quoted("vit")}, ${quoted("resnet")})],
    "types": [transformers.AutoConfig.from_pretrained(folder).model_type for _, folder, _ in json.loads(sys.argv[1])],
}))`);
    const ids = [...(await openTokenizer(at("base"))).encode(TEXT)];
    const { image_mean } = PROCESSOR;
    expect(answer).toEqual({
      ids: tokenizers.map(() => ids),
      processors: [image_mean, image_mean],
      types: Object.keys(KINDS_OF_MODEL),
    });
    expect(stderr).toBe("");
  },
  PATIENCE,
);

test.skipIf(!python)(
  "models are refused without leave to run code, and are the same after transformers has saved them",
  async () => {
    const { answer } = await ask<{ refused: string[]; differences: number[] }>(`
import torch
refused, differences = [], []
def load(auto, folder, **options):
    return getattr(transformers, auto).from_pretrained(folder, **options)
for auto, folder, again in json.loads(sys.argv[1]):
    for options in ({}, {"attn_implementation": "eager"}):
        try:
            load(auto, folder, **options)
        except ValueError as error:
            refused.append(str(error))
    model = load(auto, folder, trust_remote_code=True)
    model.save_pretrained(again)
    size = getattr(model.config, "image_size", 24)
    x = torch.rand(1, 3, size, size) if "Image" in auto else torch.arange(6)[None]
    with torch.no_grad():
        logits = [each.eval()(x).logits for each in (model, load(auto, again, trust_remote_code=True))]
    differences.append((logits[0] - logits[1]).abs().max().item())
print(json.dumps({"refused": refused, "differences": differences}))`);
    const refusal = expect.stringContaining("needs trust_remote_code=True");
    const count = 2 * Object.keys(KINDS_OF_MODEL).length;
    expect(answer.refused).toEqual(Array.from({ length: count }, () => refusal));
    expect(Math.max(...answer.differences)).toBeLessThan(1e-6);
    for (const [name, auto] of Object.entries(KINDS_OF_MODEL)) {
      const configs = [name, `${name} again`].map((each) => JSON.parse(readFileSync(at(each, "config.json"), "utf8")));
      const [before, after] = configs as [Record<string, object>, Record<string, object>];
      for (const field of ["model_type", "attn_implementation", "transformers_weights", "gblr"])
        expect(after[field]).toEqual(before[field]);
      expect(Object.keys(after.auto_map as object)).toContain(auto);
    }
  },
  PATIENCE,
);

test.skipIf(!python)(
  'a structured model whose config.json has lost "gblr" is refused with leave to run code too',
  async () => {
    const folder = at("lost");
    cpSync(at("gpt2"), folder, { recursive: true });
    const { gblr: _, ...config } = JSON.parse(readFileSync(at("gpt2", "config.json"), "utf8"));
    writeFileSync(at("lost", "config.json"), JSON.stringify(config));
    const { answer } = await ask<string>(`
try:
    transformers.AutoModelForCausalLM.from_pretrained(${JSON.stringify(folder)}, trust_remote_code=True)
    print(json.dumps("loaded"))
except ValueError as error:
    print(json.dumps(str(error)))`);
    expect(answer).toMatch(/^layer ".*": has spans, values_in, values_out, but config.json does not list it/);
  },
  PATIENCE,
);
