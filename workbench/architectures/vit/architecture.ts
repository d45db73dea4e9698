// Vision transformers as the workbench knows an architecture: names and shapes of parameters, linear layers, counts.
// Dosovitskiy et al. 2021. What they compute is in forward.ts.

import { countVit, VIT_B_16, type VitSize } from "../../structures/counting/vit.ts";
import type { Architecture, LayerInfo, ParameterInfo } from "../architecture.ts";
import { BARE } from "../parts/name-table.ts";
import { isVitName, readVitConfig, type VitConfig } from "./config.ts";
import { PACKED_PARTS, parameterName, storedName, TRANSFORMERS_PREFIX } from "./names.ts";

export const vit: Architecture<VitConfig> = {
  type: "vit",
  recognizes: ({ architecture }) => typeof architecture === "string" && isVitName(architecture),
  prefixes: ["", TRANSFORMERS_PREFIX, BARE],
  savedPrefix: (prefix) => (prefix === BARE ? TRANSFORMERS_PREFIX : prefix),
  prefixOf: ({ naming }) => (naming === "timm" ? "" : TRANSFORMERS_PREFIX),
  storedName,
  parameterName,
  joined,
  readConfig: readVitConfig,
  // The pooler of a bare ViTModel feeds no classifier.
  ignores: (name) => /^(vit\.)?pooler\./.test(name),
  parameters,
  layers,
  converts: (layer) => !layer.endsWith("attn.proj"),
  count: (config, costs) => countVit(sizeOf(config), costs),
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

/** Tokens of one image. */
export const tokensOf = ({ image, patch, classToken }: VitConfig): number =>
  Math.floor(image / patch) ** 2 + (classToken ? 1 : 0);

/** Rows of the positional embedding. */
export const positionsOf = (config: VitConfig): number =>
  tokensOf(config) - (config.classToken && !config.classPosition ? 1 : 0);

// What training from scratch starts with is timm's: normal 0.02 in all matrices, the patch embedding as PyTorch starts it.
function parameters(config: VitConfig): Map<string, ParameterInfo> {
  const { blocks, width, innerWidth, patch, colors, classes, deviation } = config;
  const found = new Map<string, ParameterInfo>();
  const normal = { kind: "normal", deviation } as const;
  const layer = (name: string, [nOut, nIn]: [number, number], bias = true) => {
    found.set(`${name}.weight`, { shape: [nOut, nIn], start: normal });
    if (bias) found.set(`${name}.bias`, { shape: [nOut], start: { kind: "zeros" } });
  };
  const norm = (name: string) => {
    found.set(`${name}.weight`, { shape: [width], start: { kind: "ones" } });
    found.set(`${name}.bias`, { shape: [width], start: { kind: "zeros" } });
  };
  const gains = (name: string) => {
    if (config.layerScale === undefined) return;
    found.set(`${name}.gamma`, { shape: [width], start: { kind: "constant", value: config.layerScale } });
  };
  const patchStart = { kind: "uniform", bound: 1 / Math.sqrt(colors * patch ** 2) } as const;
  found.set("patch_embed.proj.weight", { shape: [patch, patch, colors, width], start: patchStart, kernel: true });
  found.set("patch_embed.proj.bias", { shape: [width], start: patchStart });
  if (config.classToken) found.set("cls_token", { shape: [1, 1, width], start: { kind: "normal", deviation: 1e-6 } });
  found.set("pos_embed", { shape: [1, positionsOf(config), width], start: normal });
  for (let i = 0; i < blocks; i++) {
    norm(`blocks.${i}.norm1`);
    for (const part of PACKED_PARTS) layer(`blocks.${i}.attn.${part}`, [width, width], config.attentionBias);
    layer(`blocks.${i}.attn.proj`, [width, width]);
    gains(`blocks.${i}.ls1`);
    norm(`blocks.${i}.norm2`);
    layer(`blocks.${i}.mlp.fc1`, [innerWidth, width]);
    layer(`blocks.${i}.mlp.fc2`, [width, innerWidth]);
    gains(`blocks.${i}.ls2`);
  }
  norm(config.finalNorm);
  if (config.representation !== undefined) layer("pre_logits.fc", [config.representation, width]);
  layer("head", [classes, config.representation ?? width]);
  return found;
}

function layers({ blocks, width, innerWidth }: VitConfig): LayerInfo[] {
  const layout = "out_in";
  return Array.from({ length: blocks }, (_, i): LayerInfo[] => [
    ...[...PACKED_PARTS, "proj"].map(
      (part): LayerInfo => ({ name: `blocks.${i}.attn.${part}`, nIn: width, nOut: width, layout }),
    ),
    { name: `blocks.${i}.mlp.fc1`, nIn: width, nOut: innerWidth, layout },
    { name: `blocks.${i}.mlp.fc2`, nIn: innerWidth, nOut: width, layout },
  ]).flat();
}

/** The published constant for ViT-B/16 at 224; for any other, the reference's own count of the dense model. */
function sizeOf(config: VitConfig): VitSize {
  const { blocks, width, innerWidth, image, patch, colors, classes, classToken, representation } = config;
  const size = { blocks, width, innerWidth, image, patch, colors, classes, classToken, representation };
  const { publishedDense, ...published } = VIT_B_16;
  const isPublished =
    Object.entries(published).every(([field, value]) => size[field as keyof typeof size] === value) &&
    innerWidth === 4 * width &&
    classToken;
  return {
    ...size,
    publishedDense: isPublished ? publishedDense : countVit({ ...size, publishedDense: 1 }).reference.total,
  };
}
