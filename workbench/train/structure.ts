// Learns the structure of GBLR layers: applies the shrink rule to widths and locations after each optimizer step, and
// computes mean widths and costs.

import { type Tensor, tidy, type Variable, variable } from "@tensorflow/tfjs-core";
import { type BlockLayer, ModelBlocks } from "../gblr/blocks.ts";
import { type BlockArrays, HOLD, type ShrinkRule, type ShrinkState, type ShrinkStep } from "../gblr/shrink/index.ts";
import { blockUse, byLayer, costOf, denseCost, meanWidth } from "../gblr/widths.ts";
import { modelCounts } from "../models/index.ts";
import type { LinearLayer, Model } from "../models/model.ts";
import type { StructureMetrics } from "./metrics.ts";

/** Layers whose widths and locations are parameters. */
const layersWithWidths = (model: Model): LinearLayer[] =>
  [...model.layers.values()].filter(({ structure }) => structure.hasWidths);

/** The blocks of all GBLR layers, in the model's order; undefined if there are none. */
export function blocksOf(model: Model): ModelBlocks | undefined {
  const layers = layersWithWidths(model);
  if (layers.length === 0) return undefined;
  // If all layers have the same number of rows, their costs need not be weighted by it.
  const differ = new Set(layers.map(({ rows }) => rows)).size > 1;
  return new ModelBlocks(
    layers.map(
      ({ name, nIn, nOut, rows }): BlockLayer => ({
        nIn,
        nOut,
        ...(differ && { uses: rows }),
        rank: model.parameter(`${name}.lr_weight1`).shape[1] as number,
        widths: model.parameter(`${name}.widths`),
        locations: model.parameter(`${name}.locations`),
      }),
    ),
  );
}

/** Mean width and relative cost of the GBLR layers. */
export interface StructureSummary {
  /** μ, the mean over layers of the mean width of live blocks */
  meanWidth: number;
  /** cost relative to the dense matrices, counted from widths in whole samples regardless of σ */
  relativeCost: number;
}

/** Mean width and cost of the GBLR layers, from their widths. */
export const summaryOf = ({ sizes, widths }: BlockArrays): StructureSummary => ({
  meanWidth: meanWidth(sizes, widths),
  relativeCost: costOf(sizes, widths) / denseCost(sizes.layers),
});

/** Live blocks, cost and widths of every GBLR layer, and relative FLOPs of the whole model. */
export async function structureNow(model: Model): Promise<Omit<StructureMetrics, "step" | "epoch" | "seconds">> {
  const { sigma } = model.masks;
  const layers: StructureMetrics["layers"] = {};
  const blocks = blocksOf(model);
  if (blocks) {
    const { sizes, widths } = await blocks.read();
    const views = byLayer(widths, sizes.layers);
    layersWithWidths(model).forEach(({ name }, i) => {
      const { nIn, nOut, rank = 1 } = blocks.layers[i] as BlockLayer;
      const shape = { nIn, nOut, rank, ...(sigma && { sigma }) };
      const { live, cost, meanWidth } = blockUse(views[i] as Float32Array, shape);
      const [meanWidthIn, meanWidthOut] = meanWidth;
      layers[name] = { live: live.filter(Boolean).length, cost, meanWidthIn, meanWidthOut };
    });
  }
  const { reference, actual } = await modelCounts(model);
  return {
    kind: "structure",
    layers,
    relativeFlops: { reference: reference.relative, actual: actual.relative },
  };
}

export interface StructureLearningOptions {
  /** shrink rule. Default: widths and locations are only kept in their ranges */
  rule?: ShrinkRule | undefined;
  /** n, steps between reads of widths. Default 1 */
  every?: number | undefined;
  /** steps of the whole run */
  steps: number;
  /** time and learning rate of the next step after `step` steps */
  momentOf: (step: number) => ShrinkStep;
}

/**
 * Applies a shrink rule after optimizer steps. Widths and locations are read from the device every n steps. The rule of
 * step k, counted from 0, is applied to the values after step k, and its result is written before step k + n. With n =
 * 1 each step waits for its own read. With n > 1 training continues during the read: the rule's change is added to the
 * current values (ModelBlocks.writeLate), and in other steps widths are clamped to [0, 1] on the device. After the last
 * step, values are read and written immediately. The result does not depend on how long a read takes.
 */
export class StructureLearning {
  readonly blocks: ModelBlocks;
  /** state of the rule */
  state: ShrinkState = {};
  /** whether widths and locations are no longer trained */
  frozen = false;
  private readonly rule: ShrinkRule;
  private readonly every: number;
  private readonly options: StructureLearningOptions;
  /** for n > 1: the values of the last or pending read */
  private readonly held: Variable | undefined;
  private reading: Promise<Float32Array> | undefined;

  constructor(blocks: ModelBlocks, options: StructureLearningOptions) {
    const { rule = HOLD, every = 1 } = options;
    [this.blocks, this.rule, this.every, this.options] = [blocks, rule, every, options];
    if (every > 1) this.held = tidy(() => variable(this.flat(), false));
  }

  /** Variables for checkpoints, because a run may be saved between a read and its application. */
  variables(): Map<string, Variable> {
    return new Map(this.held ? [["shrink/read", this.held]] : []);
  }

  /** Resumes after `step` steps. Parameters and variables must have been restored from the checkpoint. */
  resume(step: number, { shrink, frozen }: { shrink: ShrinkState; frozen: boolean }): void {
    [this.state, this.frozen] = [shrink, frozen];
    if (this.held && step % this.every !== 0) this.reading = this.held.data() as Promise<Float32Array>;
  }

  /**
   * Must be called after each optimizer step.
   * @param step counted from 0
   * @returns a summary of the structure after the rule was applied; undefined if it was not applied in this step
   */
  async after(step: number): Promise<StructureSummary | undefined> {
    const { every, options, held } = this;
    if (!held || step === options.steps - 1) return this.applyNow(step);
    if (step % every === 0) {
      tidy(() => held.assign(this.flat()));
      this.reading = held.data() as Promise<Float32Array>;
    }
    if ((step + 1) % every === 0) return this.applyRead(held, step + 1 - every);
    this.blocks.clamp();
    return undefined;
  }

  private async applyNow(step: number): Promise<StructureSummary> {
    const { blocks, rule } = this;
    await this.reading;
    const shrunk = this.shrink(await blocks.read({ withMean: rule.usesMean }), step);
    if (shrunk.applied) blocks.write(shrunk);
    return summaryOf({ ...shrunk, sizes: blocks.sizes, mean: Number.NaN });
  }

  private async applyRead(held: Variable, step: number): Promise<StructureSummary> {
    const { blocks } = this;
    const shrunk = this.shrink(blocks.arraysOf((await this.reading) as Float32Array), step);
    if (shrunk.applied) blocks.writeLate(shrunk, held);
    return summaryOf({ ...shrunk, sizes: blocks.sizes, mean: Number.NaN });
  }

  private shrink(arrays: BlockArrays, step: number) {
    const shrunk = this.rule.apply(arrays, this.options.momentOf(step), this.state);
    this.state = shrunk.state;
    this.frozen ||= shrunk.frozen;
    return shrunk;
  }

  private flat(): Tensor {
    return this.blocks.flat({ withMean: this.rule.usesMean });
  }

  async dispose(): Promise<void> {
    await this.reading?.catch(() => {});
    this.held?.dispose();
  }
}
