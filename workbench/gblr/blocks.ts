// The widths and locations of all GBLR layers of a model, on the engine. Each layer keeps its own variables, under
// their names in checkpoints, because gradients are computed for them. One concatenation makes them a flat array for a
// read, and one upload writes new values to all of them.

import {
  add,
  clipByValue,
  concat,
  floor,
  greater,
  less,
  mean,
  mul,
  reshape,
  type Scalar,
  slice,
  stack,
  sub,
  type Tensor,
  type Tensor1D,
  tensor1d,
  tidy,
  type Variable,
} from "@tensorflow/tfjs-core";
import { expectSetting } from "../engine/ops/operands.ts";
import type { BlockArrays } from "./shrink/index.ts";
import { type BlockSizes, blockSizes, type LayerSize } from "./widths.ts";

/** The blocks of one GBLR matrix. */
export interface BlockLayer extends Omit<LayerSize, "blocks"> {
  /** (2, K), shares of n */
  widths: Variable;
  /** (2, K), shares of n, cyclic */
  locations: Variable;
}

/** The widths and locations of all GBLR layers of a model. */
export class ModelBlocks {
  readonly layers: readonly BlockLayer[];
  readonly sizes: BlockSizes;

  constructor(layers: readonly BlockLayer[]) {
    this.layers = layers;
    this.sizes = blockSizes(
      layers.map(({ widths, locations: _, ...size }) => ({ ...size, blocks: widths.shape[1] as number })),
    );
  }

  /**
   * All widths, then all locations, in the order of `sizes`, then μ if `withMean`: float32 (2S) or (2S + 1), with S
   * widths and S locations. The result is a copy on the device: later changes of the variables do not affect it.
   */
  flat({ withMean = false } = {}): Tensor1D {
    return tidy(() => {
      const all = [...this.layers.map(({ widths }) => widths), ...this.layers.map(({ locations }) => locations)];
      const parts: Tensor[] = all.map((each) => reshape(each, [-1]));
      if (withMean) parts.push(reshape(meanWidthOnDevice(this.layers), [1]));
      return concat(parts) as Tensor1D;
    });
  }

  /** Splits the values of `flat` into arrays. */
  arraysOf(flat: Float32Array): BlockArrays {
    const size = 2 * this.sizes.count;
    const [widths, locations] = [flat.subarray(0, size), flat.subarray(size, 2 * size)];
    return { sizes: this.sizes, widths, locations, mean: flat[2 * size] ?? Number.NaN };
  }

  /** Reads all widths and locations from the device at once. */
  async read(options: { withMean?: boolean } = {}): Promise<BlockArrays> {
    const flat = this.flat(options);
    const values = (await flat.data()) as Float32Array;
    flat.dispose();
    return this.arraysOf(values);
  }

  /** Assigns flat arrays to the widths and locations of all layers. */
  write({ widths, locations }: { widths: Float32Array; locations: Float32Array }): void {
    tidy(() => {
      const [flatWidths, flatLocations] = [tensor1d(widths), tensor1d(locations)];
      this.each(({ widths, locations }, view) => {
        widths.assign(view(flatWidths));
        locations.assign(view(flatLocations));
      });
    });
  }

  /**
   * Adds the change made by a rule to values that training has changed since the read:
   * w ← clamp((w - w_read) + w_new), and likewise for locations, modulo 1. Equals `write` if training changed nothing.
   * @param read the result of `flat` that the rule was given
   */
  writeLate({ widths, locations }: { widths: Float32Array; locations: Float32Array }, read: Tensor): void {
    tidy(() => {
      const size = widths.length;
      const ofWidths = { now: tensor1d(widths), before: slice(read, 0, size) as Tensor1D };
      const ofLocations = { now: tensor1d(locations), before: slice(read, size, size) as Tensor1D };
      this.each(({ widths, locations }, view) => {
        const moved = (variable: Tensor, { now, before }: typeof ofWidths) =>
          add(sub(variable, view(before)), view(now));
        widths.assign(clipByValue(moved(widths, ofWidths), 0, 1));
        const turned = moved(locations, ofLocations);
        const rest = sub(turned, floor(turned));
        locations.assign(mul(rest, less(rest, 1)));
      });
    });
  }

  /** Clamps widths to [0, 1] without a read. */
  clamp(): void {
    tidy(() => {
      for (const { widths } of this.layers) widths.assign(clipByValue(widths, 0, 1));
    });
  }

  private each(change: (layer: BlockLayer, view: (flat: Tensor1D) => Tensor) => void): void {
    let start = 0;
    for (const layer of this.layers) {
      const { size, shape } = layer.widths;
      const from = start;
      tidy(() => change(layer, (flat) => reshape(slice(flat, from, size), shape)));
      start += size;
    }
  }
}

/**
 * μ as defined by `meanWidth` (widths.ts), computed in the engine's float32. Shrink rules compare this value with their
 * targets, so published runs depend on its rounding.
 * @returns float32 scalar
 * @throws ShapeError when there is no layer
 */
function meanWidthOnDevice(layers: readonly { widths: Tensor }[]): Scalar {
  expectSetting("meanWidth", { layers: layers.length }, "at least one", layers.length > 0);
  return tidy(() =>
    mean(
      stack(
        layers.map(({ widths }) => {
          const [input, output] = [0, 1].map((row) => slice(widths, [row, 0], [1, widths.shape[1] as number]));
          return mean(mul(widths, greater(mul(input as Tensor, output as Tensor), 0)));
        }),
      ),
    ),
  );
}
