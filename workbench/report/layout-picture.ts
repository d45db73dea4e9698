// The block layout picture: one panel a matrix, brighter where more blocks overlap, one color scale for all. Makes SVG
// text with the rasters inside; render-svg.ts makes a PNG of it.

import type { BlockLayout } from "../structures/structure.ts";
import { colorBar } from "./color-bar.ts";
import { levelOf, PALETTE } from "./heat-scale.ts";
import { type Raster, rasterOf } from "./layout-raster.ts";
import { cellHeight, cellWidth, type Grid, PANEL_MARGIN, panelGrid } from "./panel-grid.ts";
import { encodePng } from "./png.ts";
import { shortName } from "./short-name.ts";
import { INK, imageElement, PIXELS, svgDocument, textElement } from "./svg.ts";

export interface LayoutPanel {
  /** the layer's */
  name: string;
  /** beside the name, e.g. `43.7 %` */
  note: string;
  layout: BlockLayout;
}

export interface LayoutPicture {
  title: string;
  /** a line below the title, at most 80 characters */
  subtitle: string;
  /** in the order of the picture, line by line */
  panels: readonly LayoutPanel[];
}

const MARGIN = 24;
const HEADER = 56;
const BAR_WIDTH = 104;

export function layoutPicture({ title, subtitle, panels }: LayoutPicture): string {
  const grid = panelGrid(panels.map(({ name }) => name));
  const rasters = panels.map(({ layout }) => rasterOf(layout, grid.side * PIXELS));
  const most = Math.max(0, ...rasters.map(({ values }) => values.reduce((top, value) => Math.max(top, value), 0)));
  const body = panels.map((panel, i) =>
    drawPanel(panel, { grid, raster: rasters[i] as Raster, most, ...placeOf(i, grid) }),
  );
  const right = MARGIN + grid.columns * cellWidth(grid.side);
  const top = MARGIN + HEADER + PANEL_MARGIN.top;
  const width = right + BAR_WIDTH;
  return svgDocument({ width, height: MARGIN + HEADER + grid.rows * cellHeight(grid.side) }, [
    textElement(fitted(title, width - 2 * MARGIN, 20), { x: MARGIN, y: MARGIN + 18, size: 20, weight: 600 }),
    textElement(subtitle, { x: MARGIN, y: MARGIN + 40, size: 13, color: INK.soft }),
    ...body,
    colorBar({
      x: right + 8,
      y: top,
      height: Math.min(grid.side * 2, 300, grid.rows * cellHeight(grid.side) - 70),
      most,
    }),
  ]);
}

function placeOf(i: number, { side, columns }: Grid): { x: number; y: number } {
  return {
    x: MARGIN + (i % columns) * cellWidth(side) + PANEL_MARGIN.left,
    y: MARGIN + HEADER + Math.floor(i / columns) * cellHeight(side) + PANEL_MARGIN.top,
  };
}

interface Drawing {
  grid: Grid;
  raster: Raster;
  /** count of the brightest color */
  most: number;
  /** upper left corner of the square */
  x: number;
  y: number;
}

function drawPanel({ name, note, layout }: LayoutPanel, { grid: { side }, raster, most, x, y }: Drawing): string {
  const size = side > 250 ? 14 : 12;
  const tick = { size: 10.5, color: INK.soft };
  const [right, bottom, middle] = [x + side, y + side, side / 2];
  const room = side - note.length * size * 0.6 - 8;
  return [
    textElement(fitted(name, room, size), { x, y: y - 8, size, weight: 600 }),
    textElement(note, { x: right, y: y - 8, size, anchor: "end" }),
    imageElement(pngOf(raster, most), { x, y, width: side, height: side }),
    textElement("0", { x, y: bottom + 14, ...tick }),
    textElement("in", { x: x + middle, y: bottom + 14, anchor: "middle", ...tick }),
    textElement(String(layout.nIn), { x: right, y: bottom + 14, anchor: "end", ...tick }),
    textElement("0", { x: x - 6, y: y + 10, anchor: "end", ...tick }),
    textElement("out", { x: x - 6, y: y + middle + 4, anchor: "end", ...tick }),
    textElement(String(layout.nOut), { x: x - 6, y: bottom, anchor: "end", ...tick }),
  ].join("\n");
}

function pngOf({ width, height, values }: Raster, most: number): Uint8Array {
  return encodePng({
    width,
    height,
    pixels: Uint8Array.from(values, (count) => levelOf(count, most)),
    palette: PALETTE,
  });
}

/** As many characters as such a line surely holds. */
function fitted(text: string, width: number, size: number): string {
  return shortName(text, Math.max(8, Math.floor(width / (size * 0.6))));
}
