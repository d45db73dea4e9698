// What the parameters of a residual network are called: ours, which are torchvision's and timm's, and Hugging Face's.

import { type NamePair, nameTable, transformersNames } from "../parts/name-table.ts";

/** Before all names of Hugging Face's but the head's. */
export const TRANSFORMERS_PREFIX = "resnet.";

const MOST_STAGES = 8;

// Stages are numbered from 1 there and from 0 here.
const stagePairs = (stage: number): NamePair[] => {
  const [ours, theirs] = [`layer${stage + 1}.#`, `resnet.encoder.stages.${stage}.layers.#`];
  return [
    [`${ours}.conv1`, `${theirs}.layer.0.convolution`],
    [`${ours}.bn1`, `${theirs}.layer.0.normalization`],
    [`${ours}.conv2`, `${theirs}.layer.1.convolution`],
    [`${ours}.bn2`, `${theirs}.layer.1.normalization`],
    [`${ours}.downsample.0`, `${theirs}.shortcut.convolution`],
    [`${ours}.downsample.1`, `${theirs}.shortcut.normalization`],
  ];
};

const TABLE = nameTable([
  ["conv1", "resnet.embedder.embedder.convolution"],
  ["bn1", "resnet.embedder.embedder.normalization"],
  ...Array.from({ length: MOST_STAGES }, (_, stage) => stagePairs(stage)).flat(),
  ["fc", "classifier.1"],
]);

export const { storedName, parameterName } = transformersNames(TABLE, TRANSFORMERS_PREFIX);

/** The normalization that follows a convolution: `bn1` of `conv1`, `downsample.1` of `downsample.0`. */
export const normOf = (convolution: string): string =>
  convolution.replace(/conv(\d+)$/, "bn$1").replace(/downsample\.0$/, "downsample.1");
