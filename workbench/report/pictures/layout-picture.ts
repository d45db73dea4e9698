// The block layout picture: one panel a matrix, brighter where more blocks overlap, one color scale for all. Makes SVG
// text with the rasters inside; render-svg.ts makes a PNG of it.

import { type BlockLayout, overlapRows } from "../block-layout.ts";
import { shortName } from "../layer-names.ts";
import { heat, LEVELS, levelOf, PALETTE } from "./colors.ts";
import { encodePng } from "./png.ts";
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

// A block layout as a small grid of numbers: the mean number of blocks over the entries that a pixel stands for. A
// matrix smaller than the grid keeps its own entries as pixels.

export interface Raster {
  /** input side, left to right */
  width: number;
  /** output side, top to bottom */
  height: number;
  /** row by row from the top */
  values: Float64Array;
}

/** @param most pixels on a side */
export function rasterOf(layout: BlockLayout, most: number): Raster {
  const { nIn, nOut } = layout;
  const [width, height] = [Math.min(nIn, most), Math.min(nOut, most)];
  const values = new Float64Array(width * height);
  const [column, row] = [pixelOf(nIn, width), pixelOf(nOut, height)];
  // One pass in the order of memory: a full GPT-2 has tens of millions of entries.
  let i = 0;
  for (const counts of overlapRows(layout)) {
    const line = (row[i++] as number) * width;
    for (let j = 0; j < nIn; j++) {
      const at = line + (column[j] as number);
      values[at] = (values[at] as number) + (counts[j] as number);
    }
  }
  const [across, down] = [sizes(column, width), sizes(row, height)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      values[at] = (values[at] as number) / ((across[x] as number) * (down[y] as number));
    }
  }
  return { width, height, values };
}

/** The pixel that each of n entries falls into: pixel p has those from ⌊p n / pixels⌋ on. */
function pixelOf(n: number, pixels: number): Int32Array {
  const found = new Int32Array(n);
  for (let p = 0; p < pixels; p++) found.fill(p, Math.floor((p * n) / pixels), Math.floor(((p + 1) * n) / pixels));
  return found;
}

/** How many entries each pixel has. */
function sizes(pixelOfEntry: Int32Array, pixels: number): Int32Array {
  const count = new Int32Array(pixels);
  for (const pixel of pixelOfEntry) count[pixel] = (count[pixel] as number) + 1;
  return count;
}

// How many panels stand side by side on a page, and how large they are. Numbers only.

export interface Grid {
  /** side of a panel, px */
  side: number;
  columns: number;
  rows: number;
}

/** Beside a panel's square: its axes, its title and the space to the next one, px. */
export const PANEL_MARGIN = { left: 44, right: 16, top: 30, bottom: 40 } as const;

const PAGE = { width: 1440, height: 1100 };
/** A panel smaller than the last is no longer legible: the page grows longer instead. */
const SIDES = [520, 400, 300, 230, 176];

/** The largest panels with which all of them are on one page. */
export function panelGrid(names: readonly string[]): Grid {
  const grids = SIDES.map((side) => gridOf(names, side));
  const fits = ({ side, rows }: Grid) => rows * cellHeight(side) <= PAGE.height;
  return grids.find(fits) ?? (grids.at(-1) as Grid);
}

export const cellWidth = (side: number): number => PANEL_MARGIN.left + side + PANEL_MARGIN.right;
export const cellHeight = (side: number): number => PANEL_MARGIN.top + side + PANEL_MARGIN.bottom;

function gridOf(names: readonly string[], side: number): Grid {
  const fit = Math.max(1, Math.floor(PAGE.width / cellWidth(side)));
  // Blocks of a network repeat: whole blocks in a line put like below like.
  const kinds = new Set(names.map((name) => name.replace(/\d+/g, "#"))).size;
  const repeats = kinds < names.length && kinds <= fit;
  const columns = Math.max(1, Math.min(names.length, repeats ? fit - (fit % kinds) : fit));
  return { side, columns, rows: Math.ceil(names.length / columns) };
}

// The scale of a layout picture: colors beside the counts that they stand for.

export interface ColorBar {
  /** upper left corner, px */
  x: number;
  y: number;
  height: number;
  /** count of the brightest color */
  most: number;
}

const WIDTH = 16;
const LEAST_GAP = 16;

export function colorBar({ x, y, height, most }: ColorBar): string {
  const column = encodePng({
    width: 1,
    height: LEVELS,
    pixels: Uint8Array.from({ length: LEVELS }, (_, row) => LEVELS - 1 - row),
    palette: PALETTE,
  });
  const ticks = ticksFor(most, height).map((count) => {
    const at = y + height * (1 - heat(count, most));
    return textElement(`${count}`, { x: x + WIDTH + 6, y: at + 4, size: 11, color: INK.soft });
  });
  return [
    textElement("blocks", { x, y: y - 26, size: 12, weight: 600 }),
    textElement("on an entry", { x, y: y - 12, size: 11, color: INK.soft }),
    imageElement(column, { x, y, width: WIDTH, height }),
    ...ticks,
  ].join("\n");
}

/** 0, the most, and round numbers between as far as they have room. */
export function ticksFor(most: number, height: number): number[] {
  const top = most >= 10 ? Math.round(most) : Math.round(most * 10) / 10;
  const ticks = top > 0 ? [top, 0] : [0];
  const place = (count: number) => height * heat(count, most);
  for (let decade = 10 ** Math.floor(Math.log10(Math.max(top, 1))); decade >= 1; decade /= 10) {
    for (const count of [5 * decade, 2 * decade, decade]) {
      const isFree = ticks.every((other) => Math.abs(place(count) - place(other)) >= LEAST_GAP);
      if (count < top && isFree) ticks.push(count);
    }
  }
  return ticks.sort((a, b) => a - b);
}
