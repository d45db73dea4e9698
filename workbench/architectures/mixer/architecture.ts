// MLP-Mixer as the workbench knows an architecture: names and shapes of parameters, linear layers, counts. Tolstikhin et
// al. 2021; names are timm's. What it computes is in forward.ts.

import { countMixer, mixerLayers } from "../../structures/counting/mixer.ts";
import type { Architecture, LayerInfo, ParameterInfo } from "../architecture.ts";
import { isMixerName, type MixerConfig, readMixerConfig } from "./config.ts";

export const mixer: Architecture<MixerConfig> = {
  type: "mixer",
  recognizes: ({ architecture }) => typeof architecture === "string" && isMixerName(architecture),
  prefixes: [""],
  storedName: (name) => name,
  parameterName: (stored) => stored,
  readConfig: readMixerConfig,
  ignores: () => false,
  parameters,
  layers: (config) =>
    mixerLayers(config).map(({ name, nIn, nOut }): LayerInfo => ({ name, nIn, nOut, layout: "out_in" })),
  converts: () => true,
  count: countMixer,
};

// What training from scratch starts with is timm's: Glorot's uniform distribution in the MLPs, a head of zeros.
function parameters(config: MixerConfig): Map<string, ParameterInfo> {
  const { blocks, width, patch, colors, classes } = config;
  const found = new Map<string, ParameterInfo>();
  const norm = (name: string) => {
    found.set(`${name}.weight`, { shape: [width], start: { kind: "ones" } });
    found.set(`${name}.bias`, { shape: [width], start: { kind: "zeros" } });
  };
  const layers = Map.groupBy(mixerLayers(config), ({ name }) => name.replace(/\.fc\d$/, ""));
  const mlp = (name: string) => {
    for (const { name: layer, nIn, nOut } of layers.get(name) ?? []) {
      const bound = Math.sqrt(6 / (nIn + nOut));
      found.set(`${layer}.weight`, { shape: [nOut, nIn], start: { kind: "uniform", bound } });
      found.set(`${layer}.bias`, { shape: [nOut], start: { kind: "normal", deviation: 1e-6 } });
    }
  };
  const deviation = Math.sqrt(1 / (colors * patch ** 2));
  const shape = [patch, patch, colors, width];
  found.set("stem.proj.weight", { shape, start: { kind: "normal", deviation }, kernel: true });
  found.set("stem.proj.bias", { shape: [width], start: { kind: "zeros" } });
  for (let i = 0; i < blocks; i++) {
    norm(`blocks.${i}.norm1`);
    mlp(`blocks.${i}.mlp_tokens`);
    norm(`blocks.${i}.norm2`);
    mlp(`blocks.${i}.mlp_channels`);
  }
  norm("norm");
  found.set("head.weight", { shape: [classes, width], start: { kind: "zeros" } });
  found.set("head.bias", { shape: [classes], start: { kind: "zeros" } });
  return found;
}
