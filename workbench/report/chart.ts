// Draws a chart: a Vega-Lite specification in, SVG text out, in the style of our other drawings. Works without a browser.
// What is drawn is in charts/; files are written in chart-files.ts.

import type { Config, TopLevelSpec } from "vega-lite";
import { escaped, visible } from "./escape.ts";
import { FONT_FAMILY } from "./svg.ts";
import { SERIES, TONES, withVariables } from "./theme.ts";

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
