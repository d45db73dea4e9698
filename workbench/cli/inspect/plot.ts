// Draws the block layout picture of what was inspected and writes it to a file, whole or not at all.

import { basename, resolve } from "node:path";
import { writeFileAtomically } from "../../../hub/atomic-file.ts";
import { reason } from "../../../hub/byte-source.ts";
import type { Described } from "../../report/describe-model.ts";
import { structurePicture } from "../../report/pictures/layout-picture.ts";
import { renderPng } from "../../report/pictures/png.ts";
import { CommandFailed } from "../program.ts";

/** @param file ends in .png or .svg */
export async function writePlot(file: string, described: Described): Promise<void> {
  const { model } = described.inspection;
  const svg = structurePicture(described, basename(resolve(model)));
  if (svg === undefined) throw new CommandFailed(`nothing to draw in ${model}: only GBLR layers have a block layout`);
  const content = /\.svg$/i.test(file) ? svg : await renderPng(svg);
  await writeFileAtomically(file, content).catch((error: unknown) => {
    throw new CommandFailed(`${file}: cannot be written: ${reason(error)}`, { cause: error });
  });
}
