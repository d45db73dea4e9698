// Small residual networks against plain ones in PyTorch, float64, under torchvision's and Hugging Face's names: logits by
// running statistics, and in training losses, gradients and how the running statistics move. Skipped where no Python has
// torch.

import { test } from "bun:test";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { expectAsPyTorch, hasTorch, type VisionCase } from "../vision.ts";

const folder = temporaryFolder();
const IMAGE = 40;

const TIMM = {
  architecture: "resnet18",
  num_classes: 5,
  model_args: { layers: [1, 2, 1], channels: [8, 8, 12] },
  pretrained_cfg: { input_size: [3, IMAGE, IMAGE] },
};

const TRANSFORMERS = {
  model_type: "resnet",
  architectures: ["ResNetForImageClassification"],
  layer_type: "basic",
  embedding_size: 8,
  hidden_sizes: [8, 12, 16],
  depths: [2, 1, 1],
  hidden_act: "relu",
  id2label: Object.fromEntries(Array.from({ length: 5 }, (_, i) => [i, `class ${i}`])),
};

const TIMM_BOTTLENECKS = { ...TIMM, architecture: "resnet50", model_args: { layers: [2, 1, 1], channels: [3, 4, 4] } };

const TRANSFORMERS_BOTTLENECKS = { ...TRANSFORMERS, layer_type: "bottleneck" };

/** Written out again, apart from the table that is under test. */
function ours(stored: string): string {
  return stored
    .replace("resnet.embedder.embedder.convolution", "conv1")
    .replace("resnet.embedder.embedder.normalization", "bn1")
    .replace(
      /resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\./,
      (_, stage, block) => `layer${Number(stage) + 1}.${block}.`,
    )
    .replace(/layer\.(\d)\.convolution/, (_, i) => `conv${Number(i) + 1}`)
    .replace(/layer\.(\d)\.normalization/, (_, i) => `bn${Number(i) + 1}`)
    .replace("shortcut.convolution", "downsample.0")
    .replace("shortcut.normalization", "downsample.1")
    .replace("classifier.1", "fc");
}

const common = { script: "resnet", image: IMAGE, classes: 5 } as const;

forEachEngine("ResNet and PyTorch's", () => {
  test.skipIf(!hasTorch)("agree under torchvision's names", async () => {
    const asked: VisionCase = {
      ...common,
      config: TIMM,
      gradients: [
        "conv1.weight",
        "bn1.weight",
        "layer1.0.downsample.0.weight",
        "layer2.0.conv1.weight",
        "layer2.1.bn2.bias",
        "layer3.0.conv2.weight",
        "fc.weight",
      ],
    };
    await expectAsPyTorch(folder("timm"), asked, (stored) => [stored]);
  });

  test.skipIf(!hasTorch)("agree under Hugging Face's names", async () => {
    const asked: VisionCase = {
      ...common,
      config: TRANSFORMERS,
      gradients: [
        "resnet.embedder.embedder.convolution.weight",
        "resnet.encoder.stages.0.layers.1.layer.0.convolution.weight",
        "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
        "resnet.encoder.stages.2.layers.0.layer.1.normalization.weight",
        "classifier.1.bias",
      ],
    };
    await expectAsPyTorch(folder("transformers"), asked, (stored) => [ours(stored)]);
  });

  test.skipIf(!hasTorch)("agree in bottlenecks under torchvision's names", async () => {
    const asked: VisionCase = {
      ...common,
      config: TIMM_BOTTLENECKS,
      gradients: [
        "layer1.0.conv1.weight",
        "layer1.0.downsample.0.weight",
        "layer1.1.conv3.weight",
        "layer2.0.conv2.weight",
        "layer2.0.bn3.weight",
        "layer3.0.downsample.1.bias",
        "fc.weight",
      ],
    };
    await expectAsPyTorch(folder("timm-bottlenecks"), asked, (stored) => [stored]);
  });

  for (const early of [false, true]) {
    const where = early ? "first 1 × 1" : "3 × 3";
    test.skipIf(!hasTorch)(`agree in bottlenecks under Hugging Face's names that halve in the ${where}`, async () => {
      const asked: VisionCase = {
        ...common,
        config: { ...TRANSFORMERS_BOTTLENECKS, downsample_in_bottleneck: early },
        gradients: [
          "resnet.encoder.stages.0.layers.1.layer.2.convolution.weight",
          "resnet.encoder.stages.1.layers.0.layer.0.convolution.weight",
          "resnet.encoder.stages.1.layers.0.layer.1.convolution.weight",
          "resnet.encoder.stages.2.layers.0.layer.2.normalization.weight",
          "classifier.1.bias",
        ],
      };
      await expectAsPyTorch(folder(`transformers-${early}`), asked, (stored) => [ours(stored)]);
    });
  }
});
