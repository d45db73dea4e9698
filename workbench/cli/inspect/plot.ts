// Draws the block layout picture of what was inspected and writes it to a file, whole or not at all.

import { basename, resolve } from "node:path";
import { writeFileAtomically } from "../../../hub/atomic-file.ts";
import { reason } from "../../../hub/byte-source.ts";
import { layoutPicture } from "../../report/layout-picture.ts";
import { renderPng } from "../../report/render-svg.ts";
import { CommandFailed } from "../program.ts";
import type { Described } from "./describe.ts";
import { percent } from "./print.ts";

/** @param file ends in .png or .svg */
export async function writePlot(file: string, { inspection, layouts }: Described): Promise<void> {
  if (layouts.size === 0) {
    throw new CommandFailed(`nothing to draw in ${inspection.model}: only GBLR layers have a block layout`);
  }
  const drawn = inspection.layers.flatMap(({ name, share, cost, nIn, nOut }) => {
    const layout = layouts.get(name);
    return layout ? [{ name, note: percent(share), layout, cost, dense: nIn * nOut }] : [];
  });
  const [cost, dense] = drawn.reduce(([a, b], panel) => [a + panel.cost, b + panel.dense], [0, 0]);
  const svg = layoutPicture({
    title: basename(resolve(inspection.model)),
    subtitle: `${drawn.length} GBLR ${drawn.length === 1 ? "matrix" : "matrices"}, ${percent(cost / dense)} of the dense multiply-adds`,
    panels: drawn,
  });
  const content = /\.svg$/i.test(file) ? svg : await renderPng(svg);
  await writeFileAtomically(file, content).catch((error: unknown) => {
    throw new CommandFailed(`${file}: cannot be written: ${reason(error)}`, { cause: error });
  });
}
