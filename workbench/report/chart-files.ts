// Writes a chart as files: the drawing as SVG, as PNG with the font of the package, and its specification with all of its
// data as JSON, from which anyone can draw it anew.

import type { TopLevelSpec } from "vega-lite";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { type Chart, chartSvg } from "./chart.ts";
import { renderPng } from "./render-svg.ts";

/**
 * @param path of the files without their endings
 * @returns the paths of the .svg, the .png and the .json
 */
export async function chartToFiles(chart: Chart, path: string): Promise<string[]> {
  const { title, description, spec } = chart;
  const titled = { ...spec, title: { text: title, anchor: "start", offset: 12 } } as TopLevelSpec;
  const svg = await chartSvg({ title, description, spec: titled });
  const schema = "https://vega.github.io/schema/vega-lite/v6.json";
  const contents: [string, string | Uint8Array][] = [
    ["svg", svg],
    ["png", await renderPng(svg)],
    ["json", `${JSON.stringify({ $schema: schema, description, ...titled }, null, 1)}\n`],
  ];
  for (const [ending, content] of contents) await writeFileAtomically(`${path}.${ending}`, content);
  return contents.map(([ending]) => `${path}.${ending}`);
}
