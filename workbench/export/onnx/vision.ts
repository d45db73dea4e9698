// What the graphs of image classifiers share: pixels, patches, and logits. Images are (batch, channels, height, width),
// as in PyTorch.

import { imageTaskOf } from "../../architectures/task.ts";
import type { Model } from "../../models/index.ts";
import type { Side, Value } from "./graph.ts";
import type { ModelGraph } from "./model-graph.ts";
import { reshape, transpose } from "./operators.ts";

/** What the graph of an image classifier is made of. */
export interface VisionGraph<Config> {
  colors(config: Config): number;
  /** Logits, float32 (batch, classes). @param images float32 (batch, colors, height, width), normalized */
  logits(model: ModelGraph<Config>, images: Value): Value;
}

/** Builds the graph of an image classifier. Height and width are those of the config, unless it takes any. */
export function buildVision<Config>(
  model: ModelGraph<Config>,
  source: Model<Config>,
  { colors, logits }: VisionGraph<Config>,
): void {
  const { graph: g, config } = model;
  const task = imageTaskOf(source as Model);
  const { image, classes } = task.sizes(config);
  const sides: Side[] = task.anySize ? ["height", "width"] : [image, image];
  const images = g.input("pixel_values", "F32", ["batch_size", colors(config), ...sides]);
  g.output("logits", logits(model, images), { type: "F32", shape: ["batch_size", classes] });
}

/**
 * Embeds non-overlapping patches, float32 (batch, patches, width).
 * @param name prefix of the kernel and the bias
 */
export function embedPatches(
  model: ModelGraph<unknown>,
  name: string,
  { images, patch, width }: { images: Value; patch: number; width: number },
): Value {
  const { graph: g } = model;
  const parameters = [model.parameter(`${name}.weight`), model.parameter(`${name}.bias`)];
  const embedded = g.op("Conv", [images, ...parameters], { strides: [patch, patch] });
  return transpose(g, reshape(g, embedded, [0, width, -1]), [0, 2, 1]);
}
