// conversion.json: what a conversion did to each layer, for reports. Experiments write it into the run folder, and
// `gblr convert` into the model folder.

import type { Conversion } from "../../compress/index.ts";
import { type ConvertedLayer, writeConversion } from "../../report/index.ts";

/**
 * Writes conversion.json into a folder.
 * @throws RunError if it cannot be written
 */
export async function recordConversion(folder: string, { layers }: Pick<Conversion, "layers">): Promise<void> {
  await writeConversion(folder, layers.map(recordOf));
}

/** A layer as reports read it, without what only the command line prints. */
function recordOf(layer: Conversion["layers"][number]): ConvertedLayer {
  const { name, structure, nIn, nOut, dense, cost, error, outputError, tiles } = layer;
  return {
    layer: name,
    ...{ structure, nIn, nOut },
    ...{ costBefore: dense, costAfter: cost, relativeError: error },
    ...(outputError !== undefined && { outputError }),
    // The schema has arrays that can be changed.
    ...(tiles && { tiles: tiles.map((tile) => ({ ...tile, rows: [...tile.rows], columns: [...tile.columns] })) }),
  };
}
