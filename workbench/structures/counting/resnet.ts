// Residual networks of basic blocks (ResNet-18, 34) in multiply-adds for one image. The reference counts a structured convolution at the positions of its input,
// four times too many where the stride is 2; everything else as it is.

import { type Counts, counted, type LayerCosts, type Parts, sumOver, totalOf } from "../../architectures/count.ts";
import { BATCH_NORM_PER_ENTRY, type ConvolutionLayer, densePosition, expectLayers } from "./layers.ts";

export interface ResnetSize {
  /** rows and columns of the image */
  image: number;
  /** of the image. Default 3 */
  colors?: number;
  /** channels of the first convolution. Default 64 */
  stem?: number;
  /** default ResNet-18's four */
  stages?: readonly { blocks: number; width: number }[];
  classes: number;
  /** the dense total that published relative costs divide by, rounded as there */
  publishedDense: number;
}

export const RESNET18_224: ResnetSize = { image: 224, classes: 1000, publishedDense: 1.82e9 };

const RESNET18_STAGES = [64, 128, 256, 512].map((width) => ({ blocks: 2, width }));

/** All convolutions by torchvision's names, in the order in which they run; kernels of 3 are what is structured. */
export function resnetLayers({
  image,
  colors = 3,
  stem = 64,
  stages = RESNET18_STAGES,
}: ResnetSize): ConvolutionLayer[] {
  const half = (side: number) => Math.ceil(side / 2);
  const layers: ConvolutionLayer[] = [];
  const add = (name: string, [nIn, nOut, kernel, stride, inputSide]: [number, number, number, number, number]) =>
    layers.push({ name, nIn, nOut, kernel, stride, inputSide, outputSide: stride === 2 ? half(inputSide) : inputSide });
  add("conv1", [colors, stem, 7, 2, image]);
  let [nIn, side]: [number, number] = [stem, half(half(image))];
  for (const [stage, { blocks, width: nOut }] of stages.entries()) {
    for (let block = 0; block < blocks; block++) {
      const stride = block === 0 && stage > 0 ? 2 : 1;
      const name = `layer${stage + 1}.${block}`;
      add(`${name}.conv1`, [nIn, nOut, 3, stride, side]);
      if (stride === 2 || nIn !== nOut) {
        add(`${name}.downsample.0`, [nIn, nOut, 1, stride, side]);
      }
      [nIn, side] = [nOut, stride === 2 ? half(side) : side];
      add(`${name}.conv2`, [nOut, nOut, 3, 1, side]);
    }
  }
  return layers;
}

/**
 * @param costs of structured convolutions, an output position; all others count as dense
 * @throws EngineError when it names a layer that is not there
 */
export function countResnet(size: ResnetSize, costs: LayerCosts = {}): Counts {
  expectLayers("ResNet", costs, resnetLayers(size));
  const actual = (costs: LayerCosts) => parts(size, costs, ({ outputSide }) => outputSide);
  return {
    reference: counted(
      parts(size, costs, ({ inputSide }) => inputSide),
      size.publishedDense,
    ),
    actual: counted(actual(costs), totalOf(actual({}))),
  };
}

type Side = (layer: ConvolutionLayer) => number;

function parts(size: ResnetSize, costs: LayerCosts, structuredSide: Side): Parts {
  const layers = resnetLayers(size);
  const last = layers.at(-1) as ConvolutionLayer;
  const dense = layers.filter(({ name }) => costs[name] === undefined);
  const structured = layers.filter(({ name }) => costs[name] !== undefined);
  return {
    convolutions: sumOver(dense, (layer) => layer.outputSide ** 2 * densePosition(layer)),
    "structured convolutions": sumOver(structured, (layer) => structuredSide(layer) ** 2 * (costs[layer.name] ?? 0)),
    "batch norms": sumOver(layers, ({ outputSide, nOut }) => outputSide ** 2 * nOut * BATCH_NORM_PER_ENTRY),
    "average pool": last.outputSide ** 2 * last.nOut,
    head: last.nOut * size.classes,
  };
}
