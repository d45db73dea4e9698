// `gblr compare --layers`: prints the output errors of layers in several folders, relative to those in the first one.

import { compareLayers, layerChart, layerTable } from "../../report/compare/layers.ts";
import { markdownTable } from "../../report/compare/table.ts";
import { chartToFiles } from "../../report/index.ts";
import { tableLines } from "../shared/compared.ts";
import { UsageError } from "../shared/program.ts";
import type { Palette } from "../shared/terminal.ts";

/** How the result is printed. */
export interface LayersOutput {
  palette: Palette;
  /** path of the picture without its ending. Default: none is drawn */
  plot?: string | undefined;
  markdown?: boolean | undefined;
  json?: boolean | undefined;
}

/**
 * Compares folders of variants layer by layer.
 * @param paths the first is the reference
 * @throws UsageError if there are fewer than two; RunError as `compareLayers` does
 */
export async function layersText(
  paths: readonly string[],
  { palette, plot, markdown, json }: LayersOutput,
): Promise<string> {
  const [reference, ...others] = paths as [string, ...string[]];
  if (others.length === 0) throw new UsageError("--layers compares with the first folder; give two folders or more");
  const compared = await compareLayers(others.map((folder) => ({ reference, folder })));
  const files = plot === undefined ? [] : await chartToFiles(layerChart(compared), plot);
  if (json) return JSON.stringify({ compared, files }, null, 2);
  const found = layerTable(compared);
  if (markdown) return markdownTable(found);
  const lines = [`  output errors relative to those of ${compared[0]?.reference}`, "", ...tableLines(found, palette)];
  return [...lines, ...(files.length > 0 ? [""] : []), ...files.map((file) => `  ${file}`)].join("\n");
}
