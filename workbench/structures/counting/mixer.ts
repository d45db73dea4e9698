// MLP-Mixer in multiply-adds for one image. The rows of its MLPs are channels in one half of a block and patches in the
// other; there is no product that a count could leave out, so that the reference's rules and what runs give the same.

import { type Counts, counted, type LayerCosts, sumOver, totalOf } from "../../architectures/count.ts";
import { denseRow, expectLayers, LAYER_NORM_PER_ENTRY, type LinearLayer } from "./layers.ts";

export interface MixerSize {
  blocks: number;
  /** channels of each patch */
  width: number;
  /** in the middle of the MLPs across patches, and of those across channels */
  tokenWidth: number;
  channelWidth: number;
  /** rows and columns of the image, and of a patch */
  image: number;
  patch: number;
  /** of the image */
  colors: number;
  classes: number;
}

interface MixerLayer extends LinearLayer {
  /** that go through it */
  rows: number;
}

const patchesOf = ({ image, patch }: MixerSize): number => Math.floor(image / patch) ** 2;

/** The linear layers of all blocks by timm's names. */
export function mixerLayers(size: MixerSize): MixerLayer[] {
  const { blocks, width, tokenWidth, channelWidth } = size;
  const patches = patchesOf(size);
  return Array.from({ length: blocks }, (_, i): MixerLayer[] => [
    { name: `blocks.${i}.mlp_tokens.fc1`, nIn: patches, nOut: tokenWidth, rows: width },
    { name: `blocks.${i}.mlp_tokens.fc2`, nIn: tokenWidth, nOut: patches, rows: width },
    { name: `blocks.${i}.mlp_channels.fc1`, nIn: width, nOut: channelWidth, rows: patches },
    { name: `blocks.${i}.mlp_channels.fc2`, nIn: channelWidth, nOut: width, rows: patches },
  ]).flat();
}

/**
 * @param costs of structured layers; all others count as dense
 * @throws EngineError when it names a layer that is not there
 */
export function countMixer(size: MixerSize, costs: LayerCosts = {}): Counts {
  expectLayers("MLP-Mixer", costs, mixerLayers(size));
  const both = counted(parts(size, costs), totalOf(parts(size, {})));
  return { reference: both, actual: both };
}

function parts(size: MixerSize, costs: LayerCosts) {
  const { blocks, width, patch, colors, classes } = size;
  const patches = patchesOf(size);
  return {
    "patch embedding": patches * width * colors * patch ** 2,
    linears: sumOver(mixerLayers(size), (layer) => layer.rows * (costs[layer.name] ?? denseRow(layer))),
    "layer norms": (2 * blocks + 1) * patches * width * LAYER_NORM_PER_ENTRY,
    head: width * classes,
  };
}
