// Weights as torchvision, timm and transformers save them, imported by names and shapes alone: their own logits come out.

import { beforeAll, expect, test } from "bun:test";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { classifierLogits, type Model } from "../../../workbench/models/index.ts";
import type { Recognized } from "../../../workbench/models/weights/index.ts";
import { expectNear } from "../../architectures/vision.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { taken } from "../tiny.ts";
import { importedTo } from "./weights-files.ts";

const SIZE = 64;
const at = temporaryFolder();

const CASES: [kind: string, module: string, config: object, assumed: object][] = [
  ["torchvision_resnet18", "torchvision", { architecture: "resnet18", num_classes: 10 }, { imageSize: 224 }],
  ["torchvision_resnet34", "torchvision", { architecture: "resnet34", num_classes: 7 }, { imageSize: 224 }],
  ["torchvision_resnet50", "torchvision", { architecture: "resnet50", num_classes: 9 }, { imageSize: 224 }],
  ["torchvision_resnet101", "torchvision", { architecture: "resnet101", num_classes: 4 }, { imageSize: 224 }],
  ["timm_resnet152", "timm", { architecture: "resnet152", num_classes: 3 }, { imageSize: 224 }],
  [
    "transformers_resnet50",
    "transformers",
    { model_type: "resnet", layer_type: "bottleneck", depths: [3, 4, 6, 3], hidden_sizes: [256, 512, 1024, 2048] },
    { imageSize: 224 },
  ],
  [
    "torchvision_vit",
    "torchvision",
    {
      num_classes: 6,
      model_args: { num_heads: 4, depth: 2 },
      pretrained_cfg: { interpolation: "bilinear", crop_pct: 0.875, mean: [0.485, 0.456, 0.406] },
    },
    {},
  ],
  [
    "timm_vit",
    "timm",
    {
      architecture: "vit_tiny_patch16_224",
      num_classes: 6,
      model_args: { img_size: SIZE, num_heads: 3, depth: 2 },
    },
    { heads: 3 },
  ],
  ["timm_mixer", "timm", { architecture: "mixer_s32_224", num_classes: 6, model_args: { img_size: SIZE } }, {}],
  ["transformers_vit", "transformers", { model_type: "vit", num_attention_heads: 12, image_size: SIZE }, { heads: 12 }],
  // A whole module: its attributes tell how many heads it has.
  ["transformers_gpt2", "transformers", { model_type: "gpt2", n_head: 4, tie_word_embeddings: true }, {}],
  [
    "transformers_llama",
    "transformers",
    { model_type: "llama", num_key_value_heads: 1, mlp_bias: true, tie_word_embeddings: true },
    { heads: 2, headSize: 64, settings: { rope_theta: 10_000, rms_norm_eps: 1e-5, max_position_embeddings: 2048 } },
  ],
  [
    "transformers_qwen2",
    "transformers",
    { model_type: "qwen2", num_attention_heads: 2, tie_word_embeddings: false },
    { heads: 2, settings: { rope_theta: 1_000_000, rms_norm_eps: 1e-6, max_position_embeddings: 32_768 } },
  ],
  // The shape of the gains of normalized heads gives the size of a head.
  ["transformers_qwen3", "transformers", { model_type: "qwen3", num_attention_heads: 4, head_dim: 16 }, {}],
];

beforeAll(async () => {
  await openEngine();
});

const imported = (file: string): Promise<Recognized> => importedTo(at("model"), file);

function logitsOf(model: Model, images: readonly number[]): Promise<Float32Array> {
  const ids = Int32Array.from({ length: 9 }, (_, i) => (7 * i) % 200);
  return taken(
    tf.tidy(() =>
      images.length === 0
        ? languageLogits(model, tf.tensor2d(ids, [1, 9], "int32"))
        : classifierLogits(model, tf.tensor4d(Float32Array.from(images), [2, SIZE, SIZE, 3])),
    ),
  );
}

/** The folder, as timm itself opens it. */
const OPEN_IN_TIMM = `
import json, sys, timm, torch
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
x = torch.tensor(json.load(sys.stdin)).reshape(2, ${SIZE}, ${SIZE}, 3).permute(0, 3, 1, 2)
with torch.no_grad():
    print(json.dumps(model(x).double().flatten().tolist()))
`;

const SCRIPT = path.join(import.meta.dir, "peers.py");

interface Truth {
  images: number[];
  logits: number[];
}

/** Asked once: these packages start slowly. */
const pythons = new Map(
  [...new Set(CASES.map(([, module]) => module))].map((each) => [each, pythonWith("torch", each)]),
);

for (const [kind, module, config, assumed] of CASES) {
  const python = pythons.get(module);
  if (!python) console.log(`peers.test.ts: skipped ${kind}, for want of ${module}`);
  test.skipIf(!python)(
    `${kind}: weights alone give its own logits`,
    async () => {
      const truth = await askPython<Truth>(python, SCRIPT, { args: [kind, at()] });
      const found = await imported(at("weights.pth"));
      expect(found.config).toMatchObject(config);
      expect(found.assumed).toMatchObject(assumed as Recognized["assumed"]);
      expect("heads" in found.assumed).toBe("heads" in assumed);
      const model = await loadModelNow(at("model"));
      expectNear(await logitsOf(model, truth.images), truth.logits, 1e-4);
      model.dispose();
    },
    PATIENCE,
  );
}

for (const kind of ["timm_vit", "timm_mixer", "torchvision_resnet50"]) {
  const python = pythons.get("timm");
  test.skipIf(!python)(
    `${kind}: timm opens the folder that the import writes, and computes the same logits`,
    async () => {
      const truth = await askPython<Truth>(python, SCRIPT, { args: [kind, at()] });
      await imported(at("weights.pth"));
      const asked = { args: [at("model")], input: JSON.stringify(truth.images) };
      const logits = await askPython<number[]>(python, OPEN_IN_TIMM, asked);
      expectNear(Float32Array.from(logits), truth.logits, 1e-5);
    },
    PATIENCE,
  );
}
