// Declares MLP-Mixer (Tolstikhin et al. 2021): modules of the network, task and Python classes. Names are timm's. The
// forward pass is in forward.ts.

import type { Architecture } from "../architecture.ts";
import {
  headLayer,
  layerNormModule,
  linearLayer,
  type Module,
  normal,
  patchEmbedding,
  uniform,
  ZEROS,
} from "../network.ts";
import { HALF } from "../parts/image-terms.ts";
import { isMixerName, type MixerConfig, mixerWeights, readMixerConfig } from "./config.ts";
import { mixerLogits, mixerStepwise } from "./forward.ts";
import { mixerSymmetries } from "./symmetries.ts";

/** The architecture MLP-Mixer. */
export const mixer: Architecture<MixerConfig> = {
  type: "mixer",
  title: "MLP-Mixer",
  task: {
    kind: "image-classification",
    sizes: ({ image, classes }) => ({ image, classes }),
    preparation: { ...HALF, interpolation: "bicubic", cropShare: 0.875, cropMode: "center" },
    logits: mixerLogits,
    stepwise: mixerStepwise,
  },
  readConfig: readMixerConfig,
  network,
  symmetries: mixerSymmetries,
  timm: {
    known: ["mixer_*"],
    example: "mixer_s4_32",
    isName: isMixerName,
    sizes: { width: "embed_dim", blocks: "num_blocks", image: "img_size" },
  },
  weights: mixerWeights,
  python: {
    module: "gblr_mixer",
    auto: "AutoModelForImageClassification",
    timm: { model: "GblrTimmMixerForImageClassification", config: "GblrTimmMixerConfig" },
  },
};

const LINEARS = { reference: "linears", actual: "linears" };

// Initial values are timm's: Glorot's uniform distribution in the MLPs, zeros in the head.
function network(config: MixerConfig): Module[] {
  const { blocks, width, tokenWidth, channelWidth, image, patch, colors, classes } = config;
  const patches = Math.floor(image / patch) ** 2;
  const norm = (name: string) => layerNormModule(name, { width, rows: patches });
  const layer = (name: string, [nIn, nOut]: [number, number], rows: number) => {
    const start = uniform(Math.sqrt(6 / (nIn + nOut)));
    return linearLayer({ name, nIn, nOut, layout: "out_in", rows, countedAs: LINEARS, start, bias: normal(1e-6) });
  };
  const start = normal(Math.sqrt(1 / (colors * patch ** 2)));
  return [
    patchEmbedding("stem.proj", { patch, colors, width, patches, start, bias: ZEROS }),
    ...Array.from({ length: blocks }, (_, i) => [
      norm(`blocks.${i}.norm1`),
      // The MLP across patches is applied to each channel, so its number of rows is the number of channels.
      layer(`blocks.${i}.mlp_tokens.fc1`, [patches, tokenWidth], width),
      layer(`blocks.${i}.mlp_tokens.fc2`, [tokenWidth, patches], width),
      norm(`blocks.${i}.norm2`),
      layer(`blocks.${i}.mlp_channels.fc1`, [width, channelWidth], patches),
      layer(`blocks.${i}.mlp_channels.fc2`, [channelWidth, width], patches),
    ]).flat(),
    norm("norm"),
    headLayer({ name: "head", nIn: width, nOut: classes, start: ZEROS, bias: ZEROS }),
  ];
}
