// Residual networks as the workbench knows an architecture: names and shapes of parameters, convolutions, counts. He et
// al. 2016, basic blocks. What they compute is in forward.ts.

import type { ConvolutionLayer } from "../../structures/counting/layers.ts";
import { countResnet, RESNET18_224, type ResnetSize, resnetLayers } from "../../structures/counting/resnet.ts";
import type { Architecture, LayerInfo, ParameterInfo } from "../architecture.ts";
import { BARE } from "../parts/name-table.ts";
import { isResnetName, type ResnetConfig, readResnetConfig } from "./config.ts";
import { parameterName, storedName, TRANSFORMERS_PREFIX } from "./names.ts";

export const resnet: Architecture<ResnetConfig> = {
  type: "resnet",
  recognizes: ({ architecture }) => typeof architecture === "string" && isResnetName(architecture),
  prefixes: ["", TRANSFORMERS_PREFIX, BARE],
  savedPrefix: (prefix) => (prefix === BARE ? TRANSFORMERS_PREFIX : prefix),
  prefixOf: ({ naming }) => (naming === "timm" ? "" : TRANSFORMERS_PREFIX),
  storedName,
  parameterName,
  readConfig: readResnetConfig,
  ignores: (name) => name.endsWith(".num_batches_tracked"),
  parameters,
  layers: (config) => convolutionsOf(config).map(layerOf),
  converts: (layer) => /^layer\d+\.\d+\.conv\d+$/.test(layer),
  count: (config, costs) => countResnet(sizeOf(config), costs),
};

/** All convolutions in the order in which they run. */
const convolutionsOf = (config: ResnetConfig): ConvolutionLayer[] => resnetLayers({ ...config, publishedDense: 1 });

function layerOf({ name, nIn, nOut, kernel, stride }: ConvolutionLayer): LayerInfo {
  const convolution = { kernel: [kernel, kernel] as const, stride, padding: (kernel - 1) / 2 };
  return { name, nIn: kernel ** 2 * nIn, nOut, layout: "in_out", convolution };
}

// What training from scratch starts with is timm's: He's normal distribution by outputs, the head as PyTorch starts it.
function parameters(config: ResnetConfig): Map<string, ParameterInfo> {
  const found = new Map<string, ParameterInfo>();
  for (const { name, nIn, nOut, kernel } of convolutionsOf(config)) {
    const deviation = Math.sqrt(2 / (kernel ** 2 * nOut));
    const shape = [kernel, kernel, nIn, nOut];
    found.set(`${name}.weight`, { shape, start: { kind: "normal", deviation }, kernel: true });
    const norm = normOf(name);
    const isLast = norm.endsWith(".bn2");
    const plain = (part: string, kind: "zeros" | "ones", buffer = false) =>
      found.set(`${norm}.${part}`, { shape: [nOut], start: { kind }, buffer });
    plain("weight", isLast && config.zeroStart ? "zeros" : "ones");
    plain("bias", "zeros");
    plain("running_mean", "zeros", true);
    plain("running_var", "ones", true);
  }
  const width = config.stages.at(-1)?.width as number;
  const start = { kind: "uniform", bound: 1 / Math.sqrt(width) } as const;
  found.set("fc.weight", { shape: [config.classes, width], start });
  found.set("fc.bias", { shape: [config.classes], start });
  return found;
}

/** The normalization that follows a convolution: `bn1` of `conv1`, `downsample.1` of `downsample.0`. */
export const normOf = (convolution: string): string =>
  convolution.replace(/conv(\d+)$/, "bn$1").replace(/downsample\.0$/, "downsample.1");

/** The published constant for ResNet-18 at 224; for any other, the reference's own count of the dense model. */
function sizeOf(config: ResnetConfig): ResnetSize {
  const dense = countResnet({ ...config, publishedDense: 1 }).reference.total;
  const { total } = countResnet(RESNET18_224).reference;
  return { ...config, publishedDense: dense === total ? RESNET18_224.publishedDense : dense };
}
