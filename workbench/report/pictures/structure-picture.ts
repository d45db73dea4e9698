// The block layout picture of a whole model, from its folder or from what was read of it. Layers without blocks are left
// out; a model that has no others has no picture.

import { checkModel, openModel } from "../../../hub/model-folder/index.ts";
import { percent } from "../../../hub/text/numbers.ts";
import { type Described, describe } from "../describe-model.ts";
import { layoutPicture } from "./layout-picture.ts";

/** @returns SVG, or undefined when no layer is GBLR */
export function structurePicture({ inspection, layouts }: Described, title: string): string | undefined {
  const drawn = inspection.layers.flatMap(({ name, share, cost, nIn, nOut }) => {
    const layout = layouts.get(name);
    return layout ? [{ name, note: percent(share), layout, cost, dense: nIn * nOut }] : [];
  });
  if (drawn.length === 0) return undefined;
  const [cost, dense] = drawn.reduce(([a, b], panel) => [a + panel.cost, b + panel.dense], [0, 0]);
  const matrices = `${drawn.length} GBLR ${drawn.length === 1 ? "matrix" : "matrices"}`;
  return layoutPicture({
    title,
    subtitle: `${matrices}, ${percent(cost / dense)} of the dense multiply-adds`,
    panels: drawn,
  });
}

/**
 * Reads headers, spans and widths, never the weights.
 * @param path a model folder or a safetensors file
 * @throws ModelError or SafetensorsError, one line
 */
export async function describeModel(path: string): Promise<Described> {
  const model = await openModel(path);
  try {
    const sigma = model.config?.sigma;
    return await describe(await checkModel(model), { path, ...(sigma !== undefined && { sigma }) });
  } finally {
    await model.tensors.close();
  }
}
