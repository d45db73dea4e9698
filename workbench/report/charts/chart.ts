// Draws a chart: a Vega-Lite specification in, SVG text out, in the style of our other drawings. Works without a browser.
// What is drawn is in charts/; files are written in chart-files.ts.

import type { Config, TopLevelSpec } from "vega-lite";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { SERIES, TONES, withVariables } from "../pictures/colors.ts";
import { renderPng } from "../pictures/png.ts";
import { escaped, FONT_FAMILY, visible } from "../pictures/svg.ts";

export interface Chart {
  title: string;
  /** what is seen, for those who do not see it, with units */
  description: string;
  spec: TopLevelSpec;
}

/** Of a chart in a page that shows two side by side, and one on a telephone: px. */
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
  axisX: { grid: false, labelFlush: true, tickCount: 6, ticks: true },
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

/** Without a canvas Vega takes every character for 0.8 of the font's size, which leaves wide gaps: Inter is narrower. */
function textWidth(item: { fontSize?: number }, text: unknown): number {
  return 0.58 * (item.fontSize ?? 11) * String(text).length;
}

/** The chart as a picture of its own, dark on white. */
export async function chartSvg({ spec }: Chart): Promise<string> {
  // Loaded when first needed: together they take a moment, and most commands draw nothing.
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  (vega as unknown as TextMetrics).textMetrics.width = textWidth; // exported, but not in the types
  const view = new vega.View(vega.parse(compile(spec, { config: STYLE }).spec), { renderer: "none" });
  try {
    return visible(await view.toSVG()); // Vega escapes markup, and leaves control characters in
  } finally {
    view.finalize();
  }
}

/**
 * The chart as an element of a page: in the page's colors, as wide as its place, with a title and a description.
 * @param id unique in the page
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

// What the charts have in common: a view of one size, an axis of optimizer steps, axes of numbers.

/** The whole picture, axes and legend in it, has the size of a chart. */
export const VIEW = {
  width: CHART.width,
  height: CHART.height,
  autosize: { type: "fit", contains: "padding" },
} as const;

/** `1k` for a thousand. */
const COUNT = "~s";

/** Steps along x. */
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
  /** beginning of the axis: 0, or where the values begin. Default false */
  zero?: boolean;
  /** equal ratios get equal room. Default false */
  isLogarithmic?: boolean;
  /** of the labels, as d3-format has them */
  format?: string;
  field?: string;
}

/** Numbers along y. */
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

/** Values that are far apart are told apart on a logarithmic axis only. */
export function spansDecades(values: readonly number[]): boolean {
  const least = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return least > 0 && most / least > 4;
}

/**
 * Texts as a list in an expression of Vega's, which takes literals such as "valueOf" and "constructor" for what every object
 * has of that name, but not parts of a literal.
 */
export function textList(texts: readonly string[]): string {
  let code = 0xe000; // of no character that has a meaning
  while (texts.some((text) => text.includes(String.fromCharCode(code)))) code++;
  const separator = String.fromCharCode(code);
  return `split(${JSON.stringify(texts.join(separator))}, ${JSON.stringify(separator)})`;
}

// Writes a chart as files: the drawing as SVG, as PNG with the font of the package, and its specification with all of its
// data as JSON, from which anyone can draw it anew.

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
