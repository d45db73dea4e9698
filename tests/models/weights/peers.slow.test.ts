// Weights as torchvision, timm and transformers save them, imported by names and shapes alone: their own logits come out.

import { beforeAll, expect, test } from "bun:test";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { classifierLogits, type Model } from "../../../workbench/models/index.ts";
import { importWeights, type Recognized } from "../../../workbench/models/weights/index.ts";
import { expectNear } from "../../architectures/vision.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { PATIENCE, pythonWith } from "../../python/python.ts";
import { taken } from "../tiny.ts";

const SIZE = 64;
const at = temporaryFolder();

const CASES: [kind: string, module: string, config: object, assumed: object][] = [
  ["torchvision_resnet18", "torchvision", { architecture: "resnet18", num_classes: 10 }, { imageSize: 224 }],
  ["torchvision_resnet34", "torchvision", { architecture: "resnet34", num_classes: 7 }, { imageSize: 224 }],
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
  ["timm_vit", "timm", { num_classes: 6, model_args: { img_size: SIZE, num_heads: 3, depth: 2 } }, { heads: 3 }],
  ["timm_mixer", "timm", { num_classes: 6, model_args: { img_size: SIZE, num_blocks: 8 } }, {}],
  ["transformers_vit", "transformers", { model_type: "vit", num_attention_heads: 12, image_size: SIZE }, { heads: 12 }],
  // A whole module: its attributes tell how many heads it has.
  ["transformers_gpt2", "transformers", { model_type: "gpt2", n_head: 4, tie_word_embeddings: true }, {}],
];

beforeAll(async () => {
  await openEngine();
});

async function imported(file: string): Promise<Recognized> {
  for await (const event of importWeights(file, { out: at("model") })) {
    if (event.kind === "imported") return event.model;
  }
  throw new Error("the import ended early");
}

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
      const script = path.join(import.meta.dir, "peers.py");
      const { exitCode, stdout, stderr } = Bun.spawnSync([python as string, "-W", "ignore", script, kind, at()]);
      if (exitCode !== 0) throw new Error(stderr.toString());
      const truth = JSON.parse(stdout.toString()) as { images: number[]; logits: number[] };
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
