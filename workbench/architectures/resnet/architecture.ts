// Declares residual networks of basic blocks or bottlenecks (He et al. 2016): modules of the network, tensor names, task
// and Python classes. Names are those of torchvision and timm. The forward pass is in forward.ts.

import type { Architecture } from "../architecture.ts";
import { batchNormModule, convolutionLayer, headLayer, type Module, normal, ONES, uniform, ZEROS } from "../network.ts";
import { TORCHVISION } from "../parts/image-terms.ts";
import { type NamePair, nameTable, timmOrTransformersNames } from "../parts/name-table.ts";
import { BASIC, NAMED_RESNETS, USUAL_CHANNELS } from "./blocks.ts";
import { resnetReference, resnetWeights } from "./checkpoint.ts";
import { isResnetName, type ResnetConfig, readResnetConfig } from "./config.ts";
import { normOf, resnetLogits, resnetStepwise } from "./forward.ts";
import { resnetSymmetries } from "./symmetries.ts";

/** Prefix of all of Hugging Face's names but the head's. */
const TRANSFORMERS_PREFIX = "resnet.";

const MOST_STAGES = 8;

// The workbench's names number stages from 1, Hugging Face's from 0.
const stagePairs = (stage: number): NamePair[] => {
  const [ours, theirs] = [`layer${stage + 1}.#`, `resnet.encoder.stages.${stage}.layers.#`];
  return [
    ...[0, 1, 2].flatMap((i): NamePair[] => [
      [`${ours}.conv${i + 1}`, `${theirs}.layer.${i}.convolution`],
      [`${ours}.bn${i + 1}`, `${theirs}.layer.${i}.normalization`],
    ]),
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

const NAMES = timmOrTransformersNames(TABLE, TRANSFORMERS_PREFIX);

/** The architecture ResNet. */
export const resnet: Architecture<ResnetConfig> = {
  type: "resnet",
  title: "ResNet",
  task: {
    kind: "image-classification",
    sizes: ({ image, classes }) => ({ image, classes }),
    preparation: TORCHVISION,
    anySize: true,
    logits: resnetLogits,
    stepwise: resnetStepwise,
  },
  readConfig: readResnetConfig,
  network,
  symmetries: resnetSymmetries,
  publishedTotal,
  names: {
    ...NAMES,
    ignores: (name) => name.endsWith(".num_batches_tracked"),
  },
  timm: { known: [...NAMED_RESNETS.keys()], example: "resnet18", isName: isResnetName, sizes: {} },
  weights: resnetWeights,
  reference: resnetReference,
  python: {
    module: "gblr_resnet",
    auto: "AutoModelForImageClassification",
    own: {
      resnet: {
        base: "ResNetForImageClassification",
        model: "GblrResNetForImageClassification",
        config: "GblrResNetConfig",
      },
    },
    timm: { model: "GblrTimmResNetForImageClassification", config: "GblrTimmResNetConfig" },
  },
};

// Initial values are timm's: He's normal distribution with the fan-out for convolutions, PyTorch's default for the
// head.
function network(config: ResnetConfig): Module[] {
  const { image, colors, stem, block, stages, classes } = config;
  const modules: Module[] = [];
  const half = (side: number) => Math.ceil(side / 2);
  const last = `.${block.convolutions.at(-1)?.name}`;
  const add = (name: string, [channels, nOut, kernel]: [number, number, number], { stride, side }: Placement) => {
    const positions = (stride === 2 ? half(side) : side) ** 2;
    const start = normal(Math.sqrt(2 / (kernel ** 2 * nOut)));
    // The reference counts a structured convolution at the positions of its input, which are four times as many at
    // stride 2.
    const counted = { rows: positions, referenceRows: side ** 2, inRecipe: /^layer\d+\.\d+\.conv\d+$/.test(name) };
    modules.push(convolutionLayer({ name, channels, nOut, kernel, stride, start, ...counted }));
    const gain = config.zeroStart && name.endsWith(last) ? ZEROS : ONES;
    modules.push(batchNormModule(normOf(name), { channels: nOut, positions, gain }));
  };
  add("conv1", [colors, stem, 7], { stride: 2, side: image });
  let [channels, side]: [number, number] = [stem, half(half(image))];
  for (const [stage, { blocks, width, inner }] of stages.entries()) {
    for (let index = 0; index < blocks; index++) {
      const name = `layer${stage + 1}.${index}`;
      const input = { channels, side, stride: index === 0 && stage > 0 ? 2 : 1 };
      for (const [i, { name: own, kernel, halves }] of block.convolutions.entries()) {
        const nOut = i === block.convolutions.length - 1 ? width : inner;
        const stride = halves ? input.stride : 1;
        add(`${name}.${own}`, [channels, nOut, kernel], { stride, side });
        [channels, side] = [nOut, stride === 2 ? half(side) : side];
        const changes = input.stride === 2 || input.channels !== width;
        if (i === 0 && changes) add(`${name}.downsample.0`, [input.channels, width, 1], input);
      }
    }
  }
  const start = uniform(1 / Math.sqrt(channels));
  modules.push({ parts: [{ name: "average pool", multiplyAdds: side ** 2 * channels }] });
  modules.push(headLayer({ name: "fc", nIn: channels, nOut: classes, start, bias: start }));
  return modules;
}

interface Placement {
  stride: number;
  /** rows and columns of the input */
  side: number;
}

/** ResNet-18 at 224 × 224 for ImageNet. Published tables divide by 1.82e9 multiply-adds for it. */
const PUBLISHED = {
  ...{ image: 224, colors: 3, stem: 64, classes: 1000, block: BASIC },
  stages: USUAL_CHANNELS.map((width) => ({ blocks: 2, width, inner: width })),
};

function publishedTotal({ image, colors, stem, classes, block, stages }: ResnetConfig): number | undefined {
  const sizes = stages.map(({ blocks, width, inner }) => ({ blocks, width, inner }));
  const isPublished =
    JSON.stringify({ image, colors, stem, classes, block, stages: sizes }) === JSON.stringify(PUBLISHED);
  return isPublished ? 1.82e9 : undefined;
}
