// Asks PyTorch for checkpoints as the authors' trainer leaves them, of random weights, and for what they compute. Which
// networks there are is in gaudi.py.

import path from "node:path";
import { askPython, pythonWith } from "../../python/python.ts";

/** Tensors row by row; images (2, image, image, 3). */
export interface GaudiAnswer {
  images: number[];
  logits: number[];
  /** multiply-adds of each GBLR matrix, in the order of the module tree */
  costs: number[];
}

export interface GaudiVision {
  model: "vit" | "resnet";
  image: number;
  classes: number;
  /** whether masks have a Gaussian */
  gaussian: boolean;
  sigma: number;
  /** r. Default 1 */
  rank?: number;
  /** a safetensors file whose tensors it must have and has, all and no others. Default random ones */
  load?: string;
  /** hyper-parameters, as OmegaConf keeps them; none where they are left out */
  hyper?: Record<string, unknown>;
  /** ViT: blocks that are dense, and whether queries, keys and values are one matrix there */
  dense?: number[];
  packed?: boolean;
  patch?: number;
  width?: number;
  heads?: number;
  inner?: number;
  blocks?: number;
  /** ResNet: a GBLR matrix for each position of a kernel, or one over all of them */
  convolutions?: "each" | "all";
  layers?: number[];
  channels?: number[];
}

/** Says that masks have a Gaussian by not saying that they have none. */
export const VIT: GaudiVision = {
  model: "vit",
  image: 16,
  patch: 4,
  width: 24,
  heads: 3,
  inner: 40,
  blocks: 2,
  classes: 5,
  gaussian: true,
  sigma: 3,
  hyper: { model: { mlp_cfg: { linear1_cfg: { rank_per_component: 1, sigma: 10 } } }, seed: 1111 },
};

export const RESNET: GaudiVision = {
  model: "resnet",
  image: 24,
  layers: [1, 2],
  channels: [8, 12],
  classes: 5,
  gaussian: false,
  sigma: 3,
  convolutions: "each",
  hyper: {
    model: { per_kernel: true, unified_mask: false, gaudi_params: { no_gaussian: true } },
    datamodule: { image_size: 24, dali: "gpu" },
  },
};

/** Writes the checkpoints, and gives an answer for each. @param asked by file, in a folder that is there */
export function askGaudi(asked: Readonly<Record<string, GaudiVision>>): Promise<Record<string, GaudiAnswer>> {
  return askPython(pythonWith("torch"), path.join(import.meta.dir, "gaudi.py"), { input: JSON.stringify(asked) });
}
