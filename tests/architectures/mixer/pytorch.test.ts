// A small MLP-Mixer against a plain one in PyTorch, float64, under timm's names: logits, losses and gradients. Skipped
// where no Python has torch.

import { test } from "bun:test";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { expectAsPyTorch, hasTorch, type VisionCase } from "../vision.ts";

const folder = temporaryFolder();
const IMAGE = 16;

const timm = (args: Record<string, unknown> = {}) => ({
  architecture: "mixer_s16_224",
  num_classes: 6,
  model_args: { img_size: IMAGE, patch_size: 4, embed_dim: 20, num_blocks: 2, ...args },
});

const GRADIENTS = [
  "stem.proj.weight",
  "blocks.0.mlp_tokens.fc1.weight",
  "blocks.0.mlp_tokens.fc1.bias",
  "blocks.1.mlp_channels.fc2.weight",
  "blocks.1.norm1.weight",
  "norm.bias",
  "head.weight",
];

forEachEngine("MLP-Mixer and PyTorch's", () => {
  for (const [name, config] of Object.entries({
    "as published": timm(),
    "other middles": timm({ mlp_ratio: [1.5, 2] }),
  })) {
    test.skipIf(!hasTorch)(`agree: ${name}`, async () => {
      const asked: VisionCase = { script: "mixer", config, image: IMAGE, classes: 6, gradients: GRADIENTS };
      await expectAsPyTorch(folder(name.replace(/\W+/g, "-")), asked, (stored) => [stored]);
    });
  }
});
