// A ResNet's graph, as workbench/architectures/resnet/forward.ts computes it. Batch normalizations have their running
// statistics.

import type { ResnetConfig } from "../../../architectures/resnet/config.ts";
import { normOf } from "../../../architectures/resnet/forward.ts";
import { float, type Value } from "../graph.ts";
import type { ModelGraph } from "../model-graph.ts";
import { add, mean } from "../operators.ts";
import type { VisionGraph } from "../vision.ts";

/** ε of batch normalizations, PyTorch's default. */
const EPSILON = 1e-5;

/** The graph of a ResNet. */
export const resnetGraph: VisionGraph<ResnetConfig> = {
  colors: ({ colors }) => colors,

  logits(model, images) {
    const { graph: g, config } = model;
    const pooling = { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] };
    let x = g.op("MaxPool", [model.activate("relu", convolved(model, "conv1", images))], pooling);
    for (const [stage, { blocks }] of config.stages.entries()) {
      for (let block = 0; block < blocks; block++) x = residual(model, `layer${stage + 1}.${block}`, x);
    }
    return model.head("fc", mean(g, x, [2, 3]));
  },
};

type Resnet = ModelGraph<ResnetConfig>;

function residual(model: Resnet, block: string, x: Value): Value {
  const { convolutions } = model.config.block;
  const inner = convolutions.reduce((input, { name }, i) => {
    const output = convolved(model, `${block}.${name}`, input);
    return i === convolutions.length - 1 ? output : model.activate("relu", output);
  }, x);
  const shortcut = `${block}.downsample.0`;
  const kept = model.hasLayer(shortcut) ? convolved(model, shortcut, x) : x;
  return model.activate("relu", add(model.graph, inner, kept));
}

/** A convolution with its batch normalization. */
function convolved(model: Resnet, name: string, x: Value): Value {
  const norm = normOf(name);
  const parameters = ["weight", "bias", "running_mean", "running_var"].map((part) =>
    model.parameter(`${norm}.${part}`),
  );
  const inputs = [model.convolution(name, x), ...parameters];
  return model.graph.op("BatchNormalization", inputs, { epsilon: float(EPSILON) });
}
