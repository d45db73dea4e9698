// Small vision transformers in every variant of their configs against plain ones in PyTorch, float64, under timm's and
// Hugging Face's names: logits, losses and gradients. Skipped where no Python has torch.

import { test } from "bun:test";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { expectAsPyTorch, hasTorch, type VisionCase } from "../vision.ts";

const folder = temporaryFolder();

const IMAGE = 16;
const ARGS = { img_size: IMAGE, patch_size: 4, embed_dim: 24, depth: 2, num_heads: 3 };
const timm = (args: Record<string, unknown> = {}) => ({
  architecture: "vit_tiny_patch16_224",
  num_classes: 7,
  model_args: { ...ARGS, ...args },
  pretrained_cfg: { input_size: [3, IMAGE, IMAGE] },
});

const CONFIGS: Record<string, Record<string, unknown>> = {
  "class token": timm(),
  "average of patches, normalized after": timm({ global_pool: "avg" }),
  "average of patches, normalized before, no class token": timm({
    global_pool: "avg",
    fc_norm: false,
    class_token: false,
  }),
  "a class token without a position": timm({ no_embed_class: true }),
  "gains of each half, no bias of attention": timm({ init_values: 0.1, qkv_bias: false }),
  "a representation layer, a narrow middle": timm({ representation_size: 20, mlp_ratio: 1.5 }),
  "patches that leave a rim": timm({ patch_size: 5 }),
};

const TRANSFORMERS = {
  model_type: "vit",
  architectures: ["ViTForImageClassification"],
  hidden_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 40,
  layer_norm_eps: 1e-6,
  image_size: IMAGE,
  patch_size: 4,
  id2label: Object.fromEntries(Array.from({ length: 7 }, (_, i) => [i, `class ${i}`])),
  qkv_bias: true,
};

/** Of timm's names only packed ones are not ours. */
function timmNames(stored: string): string[] {
  return stored.includes(".qkv.")
    ? ["q_proj", "k_proj", "v_proj"].map((part) => stored.replace("qkv", part))
    : [stored];
}

const OURS: Record<string, string> = {
  "vit.embeddings.position_embeddings": "pos_embed",
  "vit.embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
  "vit.encoder.layer.0.attention.attention.key.weight": "blocks.0.attn.k_proj.weight",
  "vit.encoder.layer.1.output.dense.weight": "blocks.1.mlp.fc2.weight",
  "vit.encoder.layer.1.layernorm_after.bias": "blocks.1.norm2.bias",
  "classifier.weight": "head.weight",
};

const common = { script: "vit", image: IMAGE, classes: 7 } as const;

forEachEngine("ViT and PyTorch's", () => {
  for (const [name, config] of Object.entries(CONFIGS)) {
    test.skipIf(!hasTorch)(`agree under timm's names: ${name}`, async () => {
      const args = config.model_args as Record<string, unknown>;
      const gradients = ["patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight", "blocks.1.mlp.fc1.bias"];
      gradients.push(args.class_token === false ? "blocks.0.norm1.weight" : "cls_token");
      if (args.init_values !== undefined) gradients.push("blocks.1.ls1.gamma");
      else gradients.push("blocks.1.attn.qkv.bias");
      if (args.representation_size !== undefined) gradients.push("pre_logits.fc.weight");
      const asked: VisionCase = { ...common, config, gradients: [...gradients, "head.weight"] };
      await expectAsPyTorch(folder(name.replace(/\W+/g, "-")), asked, timmNames);
    });
  }

  test.skipIf(!hasTorch)("agree under Hugging Face's names", async () => {
    const asked: VisionCase = { ...common, config: TRANSFORMERS, gradients: Object.keys(OURS) };
    await expectAsPyTorch(folder("transformers"), asked, (stored) => [OURS[stored] as string]);
  });
});
