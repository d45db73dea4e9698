// Draws charts with Vega-Lite, without a browser: the common style, size, axes and legend, and the output as SVG text,
// as an element of an HTML page, or as files. The other files of this folder write the specifications.

import type { Config, TopLevelSpec } from "vega-lite";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { SERIES, TONES, withVariables } from "../pictures/colors.ts";
import { renderPng } from "../pictures/png.ts";
import { escaped, FONT_FAMILY, visible } from "../pictures/svg.ts";

/** A chart as a Vega-Lite specification, with its title. */
export interface Chart {
  title: string;
  /** text alternative: what the chart shows, with units */
  description: string;
  spec: TopLevelSpec;
}

/** Size of a chart in px. A page shows two of them side by side, or one on a narrow screen. */
export const CHART = { width: 460, height: 250 } as const;

const FONT = `${FONT_FAMILY}, 'Helvetica Neue', Arial, sans-serif`;
const [ink, soft, line] = [TONES.ink.light, TONES.soft.light, TONES.line.light];

const STYLE: Config = {
  background: TONES.paper.light,
  font: FONT,
  padding: 6,
  view: { stroke: null },
  axis: {
    domainColor: soft,
    domain: false,
    tickColor: line,
    gridColor: line,
    labelColor: soft,
    labelFontSize: 12,
    labelLimit: 140,
    titleColor: soft,
    titleFontSize: 12,
    titleFontWeight: 400,
    titlePadding: 8,
  },
  axisX: { grid: false, labelFlush: true, labelSeparation: 8, tickCount: 6, ticks: true },
  axisY: { tickCount: 5, ticks: false, labelPadding: 6 },
  legend: {
    orient: "bottom",
    direction: "horizontal",
    columns: 2,
    title: null,
    labelColor: ink,
    labelFontSize: 12,
    labelLimit: 190,
    symbolStrokeWidth: 2.5,
    symbolOpacity: 1,
    symbolType: "stroke",
    offset: 6,
    rowPadding: 3,
  },
  range: { category: [...SERIES] },
  title: { color: ink, fontSize: 15, fontWeight: 600 },
  line: { strokeWidth: 2, strokeJoin: "round" },
  rule: { strokeWidth: 1.5 },
  point: { size: 36, filled: true },
  text: { font: FONT, fontSize: 12, fill: ink },
};

interface TextMetrics {
  textMetrics: { width: typeof textWidth };
}

/** Estimated width of a text in px. Vega's own estimate without a canvas, 0.8 em a character, is too wide for Inter. */
function textWidth(item: { fontSize?: number }, text: unknown): number {
  return 0.58 * (item.fontSize ?? 11) * String(text).length;
}

/** Draws a chart as an SVG document, dark on white. */
export async function chartSvg({ spec }: Chart): Promise<string> {
  // Imported lazily because loading both is slow and most commands draw nothing.
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  (vega as unknown as TextMetrics).textMetrics.width = textWidth; // exported, but missing in its types
  const view = new vega.View(vega.parse(compile(spec, { config: STYLE }).spec), { renderer: "none" });
  try {
    return visible(await view.toSVG()); // Vega escapes markup but not control characters
  } finally {
    view.finalize();
  }
}

/**
 * Draws a chart as an `<svg>` element for a page. It uses the page's color variables, scales with its container, and
 * has an accessible title and description.
 * @param id prefix of all ids in the element; unique in the page
 */
export async function chartElement(chart: Chart, id: string): Promise<string> {
  const svg = withVariables(await chartSvg(chart));
  const label = `<title id="${id}-title">${escaped(chart.title)}</title><desc id="${id}-desc">${escaped(chart.description)}</desc>`;
  return svg
    .replace(/\bid="([^"]+)"/g, `id="${id}-$1"`)
    .replace(/url\(#/g, `url(#${id}-`)
    .replace(/<svg [^>]*?(viewBox="[^"]*")[^>]*>/, (_, box: string) => {
      const [, , width, height] = box.match(/[\d.]+/g) as RegExpMatchArray;
      const size = `width="${width}" height="${height}"`;
      return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${box} role="img" aria-labelledby="${id}-title ${id}-desc">${label}`;
    });
}

/** Size of a chart, axes and legend included. */
export const VIEW = {
  width: CHART.width,
  height: CHART.height,
  autosize: { type: "fit", contains: "padding" },
} as const;

/** d3-format for counts: `1k` for a thousand. */
const COUNT = "~s";

/** Encoding of the x axis: optimizer steps. */
export function stepAxis(field = "x") {
  return {
    field,
    type: "quantitative",
    title: "optimizer step",
    scale: { nice: false, zero: false },
    axis: { format: COUNT, tickMinStep: 1 },
  } as const;
}

interface NumberAxis {
  /** whether the axis begins at 0 rather than at the smallest value. Default false */
  zero?: boolean;
  /** Default false */
  isLogarithmic?: boolean;
  /** d3-format of the labels */
  format?: string;
  field?: string;
}

/** Encoding of the y axis: numbers. */
export function numberAxis(
  title: string,
  { zero = false, isLogarithmic = false, format, field = "y" }: NumberAxis = {},
) {
  return {
    field,
    type: "quantitative",
    title,
    scale: isLogarithmic
      ? { type: "log" as const, nice: false, padding: 6 }
      : { type: "linear" as const, zero, nice: true },
    ...(format !== undefined && { axis: { format } }),
  } as const;
}

/** Whether values are positive and spread so widely (by more than a factor of 4) that a logarithmic axis is needed. */
export function spansDecades(values: readonly number[]): boolean {
  const least = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return least > 0 && most / least > 4;
}

/** Height of a row of the legend, px. */
export const LEGEND_ROW = 18;
/** Maximum number of characters of a legend entry that shares its row with another one. */
const HALF_ROW = 24;

const legendColumns = (names: readonly string[]): number => (names.every(({ length }) => length <= HALF_ROW) ? 2 : 1);

/** Encoding of a legend for these names: two columns if all of them are short, else one. */
export function legendFor(names: readonly string[]) {
  const columns = legendColumns(names);
  return { legend: { columns, labelLimit: columns === 1 ? CHART.width - 80 : 190 } } as const;
}

/** Height in px that the legend needs beyond its first row. A chart with a legend is made taller by this. */
export function extraLegendHeight(names: readonly string[]): number {
  return LEGEND_ROW * Math.max(0, Math.ceil(names.length / legendColumns(names)) - 1);
}

/**
 * Writes texts as a list in a Vega expression. The list is written as one string that the expression splits, because
 * Vega would resolve a literal such as "valueOf" as a property of an object.
 */
export function textList(texts: readonly string[]): string {
  let code = 0xe000; // private use area of Unicode
  while (texts.some((text) => text.includes(String.fromCharCode(code)))) code++;
  const separator = String.fromCharCode(code);
  return `split(${JSON.stringify(texts.join(separator))}, ${JSON.stringify(separator)})`;
}

/**
 * Writes a chart as an SVG file, a PNG file and a JSON file with its Vega-Lite specification and data.
 * @param path path of the files without extension
 * @returns paths of the .svg, the .png and the .json
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
