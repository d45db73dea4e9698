// Declares vision transformers (Dosovitskiy et al. 2021): modules of the network, tensor names, task and Python
// classes. The forward pass is in forward.ts.

import type { Architecture } from "../architecture.ts";
import {
  type CountedPart,
  headLayer,
  type LinearOptions,
  layerNormModule,
  linearLayer,
  type Module,
  normal,
  parameter,
  patchEmbedding,
  uniform,
  ZEROS,
} from "../network.ts";
import { HALF } from "../parts/image-terms.ts";
import { vitWeights } from "./checkpoint.ts";
import { isVitName, readVitConfig, type VitConfig } from "./config.ts";
import { vitLogits, vitStepwise } from "./forward.ts";
import { NAMES, OTHER_NAMES, PACKED_PARTS } from "./names.ts";
import { vitSymmetries } from "./symmetries.ts";

/** The architecture ViT. */
export const vit: Architecture<VitConfig> = {
  type: "vit",
  title: "ViT",
  task: {
    kind: "image-classification",
    sizes: ({ image, classes }) => ({ image, classes }),
    preparation: { ...HALF, interpolation: "bicubic", cropShare: 0.9, cropMode: "center" },
    positions: {
      parameter: "pos_embed",
      first: ({ classPosition }) => (classPosition ? 1 : 0),
      patch: ({ patch }) => patch,
      resized: (config, image) => ({ ...config, image }),
    },
    logits: vitLogits,
    stepwise: vitStepwise,
  },
  readConfig: readVitConfig,
  network,
  symmetries: vitSymmetries,
  publishedTotal,
  names: {
    ...NAMES,
    joined,
    // The pooler of a ViTModel without a head is not used for classification.
    ignores: (name) => /^(vit\.)?pooler\./.test(name),
    others: OTHER_NAMES,
  },
  timm: {
    known: ["vit_*", "deit_*"],
    example: "vit_small_patch4_32",
    isName: isVitName,
    sizes: { width: "embed_dim", blocks: "depth", heads: "num_heads", image: "img_size" },
  },
  weights: vitWeights,
  // The reference's published model was trained from scratch with σ rising to 100. The checkpoints of its fine-tuned
  // models state that their masks have no Gaussian.
  reference: { gaussian: true },
  python: {
    module: "gblr_vit",
    auto: "AutoModelForImageClassification",
    own: {
      vit: { base: "ViTForImageClassification", model: "GblrViTForImageClassification", config: "GblrViTConfig" },
    },
    timm: { model: "GblrTimmViTForImageClassification", config: "GblrTimmViTConfig" },
  },
};

function joined({ blocks, attentionBias }: VitConfig, prefix: string): Map<string, readonly string[]> {
  if (prefix !== "") return new Map();
  const own = attentionBias ? ["weight", "bias"] : ["weight"];
  return new Map(
    Array.from({ length: blocks }, (_, i) =>
      own.map((part): [string, string[]] => [
        `blocks.${i}.attn.qkv.${part}`,
        PACKED_PARTS.map((layer) => `blocks.${i}.attn.${layer}.${part}`),
      ]),
    ).flat(),
  );
}

const patchesOf = ({ image, patch }: VitConfig): number => Math.floor(image / patch) ** 2;

/** Number of tokens of one image. */
const tokensOf = (config: VitConfig): number => patchesOf(config) + (config.classToken ? 1 : 0);

/** Number of rows of the position embedding. */
const positionsOf = (config: VitConfig): number =>
  tokensOf(config) - (config.classToken && !config.classPosition ? 1 : 0);

// Initial values are timm's: a normal distribution with deviation 0.02 in all matrices, PyTorch's default in the patch
// embedding.
function network(config: VitConfig): Module[] {
  const { blocks, width, innerWidth, patch, colors, classes, representation } = config;
  const start = normal(config.deviation);
  const patchStart = uniform(1 / Math.sqrt(colors * patch ** 2));
  const patches = patchesOf(config);
  const rows = tokensOf(config);
  // The reference counts structured layers for the patches only, without the class token.
  const counted = { rows, referenceRows: patches, countedAs: { actual: "linears" } };
  const layer = (name: string, nIn: number, nOut: number, options: Partial<LinearOptions> = {}) =>
    linearLayer({ name, nIn, nOut, layout: "out_in", ...counted, start, bias: ZEROS, ...options });
  const norm = (name: string) => layerNormModule(name, { width, rows });
  const gains = (name: string): Module =>
    config.layerScale === undefined
      ? {}
      : parameter(`${name}.gamma`, [width], { kind: "constant", value: config.layerScale });
  return [
    patchEmbedding("patch_embed.proj", { patch, colors, width, patches, start: patchStart, bias: patchStart }),
    config.classToken ? parameter("cls_token", [1, 1, width], normal(1e-6)) : {},
    parameter("pos_embed", [1, positionsOf(config), width], start),
    ...Array.from({ length: blocks }, (_, i) => {
      const block = `blocks.${i}`;
      const bias = config.attentionBias ? ZEROS : undefined;
      // The reference does not count queries and keys if the values have cost 0, nor fc2 if fc1 has cost 0.
      const valued = { bias, referenceNeeds: `${block}.attn.v_proj` };
      return [
        norm(`${block}.norm1`),
        layer(`${block}.attn.q_proj`, width, width, valued),
        layer(`${block}.attn.k_proj`, width, width, valued),
        layer(`${block}.attn.v_proj`, width, width, { bias }),
        layer(`${block}.attn.proj`, width, width, { inRecipe: false }),
        gains(`${block}.ls1`),
        norm(`${block}.norm2`),
        layer(`${block}.mlp.fc1`, width, innerWidth),
        layer(`${block}.mlp.fc2`, innerWidth, width, { referenceNeeds: `${block}.mlp.fc1` }),
        gains(`${block}.ls2`),
      ];
    }).flat(),
    norm(config.finalNorm),
    representation === undefined
      ? {}
      : headLayer({ name: "pre_logits.fc", nIn: width, nOut: representation, start, bias: ZEROS }),
    headLayer({ name: "head", nIn: representation ?? width, nOut: classes, start, bias: ZEROS }),
    { parts: attentionParts(blocks * rows ** 2 * width) },
  ];
}

/**
 * The attention products. The reference counts neither of them in a structured model. It counts dense models with
 * another tool, which includes one of the two.
 */
const attentionParts = (multiplyAdds: number): CountedPart[] => [
  { name: "attention scores", multiplyAdds, in: "actual" },
  { name: "attention values", multiplyAdds, in: "actual" },
  { name: "attention values", multiplyAdds, in: "dense reference" },
];

/** ViT-B/16 at 224 × 224 for ImageNet. Published tables divide by 1.72e10 multiply-adds for it. */
const PUBLISHED: Partial<VitConfig> = {
  ...{ blocks: 12, width: 768, innerWidth: 4 * 768, image: 224, patch: 16, colors: 3, classes: 1000 },
  classToken: true,
  representation: undefined,
};

function publishedTotal(config: VitConfig): number | undefined {
  const isPublished = Object.entries(PUBLISHED).every(([field, value]) => config[field as keyof VitConfig] === value);
  return isPublished ? 1.72e10 : undefined;
}
