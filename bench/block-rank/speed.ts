// The speed of a packed matrix over the dense one, with many rows and with one. The forms take turns, so that a
// disturbance affects all of them.

import * as tf from "@tensorflow/tfjs-core";
import { median } from "../../workbench/engine/core/measure.ts";
import { openedEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import type { PackedGblr } from "../../workbench/gblr/packed.ts";
import { formsOfBlocks, packedStructure } from "../../workbench/structures/inference/packed.ts";
import type { HeldMatrix } from "../../workbench/structures/structure.ts";

const ROUNDS = 9;
/** Values that push a matrix out of the caches, before a product with one row. */
const FLUSH_VALUES = 1 << 24;

/** The speed of the panels over the dense matrix. */
export interface Speeds {
  /** with 512 rows */
  many: number;
  /** with one row */
  one: number;
  /** multiply-adds of the panels over those of the blocks */
  padding: number;
}

/** Medians of ratios of times. */
export async function speedsOver(packed: PackedGblr): Promise<Speeds> {
  const { nIn, nOut, spans, values_in, values_out } = packed;
  const forms = formsOfBlocks(packed, packedStructure({ nIn, nOut, blocks: spans.shape[1] }));
  const held = await Promise.all(
    forms.filter(({ name }) => name === "dense" || name === "panels").map(({ make }) => make()),
  );
  const [dense, panels] = held as [HeldMatrix, HeldMatrix];
  try {
    const padding = (await panels.structure.cost(panels.parameters)) / (values_in.size + values_out.size);
    return { many: await ratio(dense, panels, 512), one: await ratio(dense, panels, 1), padding };
  } finally {
    for (const { parameters } of held) tf.dispose({ ...parameters });
  }
}

async function ratio(dense: HeldMatrix, other: HeldMatrix, rows: number): Promise<number> {
  const engine = openedEngine() as Engine;
  const nIn = (dense.parameters.weight as tf.Tensor).shape[1] as number;
  const x = tf.randomNormal([rows, nIn]);
  const large = rows === 1 ? tf.fill([FLUSH_VALUES], 1) : undefined;
  const ratios: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const seconds: number[] = [];
    for (const { structure, parameters } of [dense, other]) {
      if (large) tf.tidy(() => tf.sum(large)).dispose();
      await engine.synchronize();
      const began = performance.now();
      structure.apply(parameters, x).dispose();
      await engine.synchronize();
      seconds.push(performance.now() - began);
    }
    // The first round warms up.
    if (round > 0) ratios.push((seconds[0] as number) / (seconds[1] as number));
  }
  tf.dispose([x, ...(large ? [large] : [])]);
  return median(ratios);
}
