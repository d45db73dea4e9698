// Draws the block layout picture: one square per GBLR matrix, in which an entry is brighter if more blocks cover it.
// All squares share one color scale. The result is SVG text with the squares embedded as PNG; png.ts renders it to
// pixels.

import { percent } from "../../../hub/text/numbers.ts";
import type { BlockLayout } from "../../structures/structure.ts";
import { overlapRows } from "../block-layout.ts";
import type { Described } from "../describe-model.ts";
import { shortName, shortNames } from "../layer-names.ts";
import { type ColorRange, heat, LEVELS, levelOf, PALETTE } from "./colors.ts";
import { encodePng } from "./png.ts";
import { INK, imageElement, PIXELS, svgDocument, textElement } from "./svg.ts";

/**
 * Draws the block layout of every GBLR layer of a model.
 * @returns SVG, or undefined if no layer is GBLR
 */
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

interface LayoutPanel {
  /** name of the layer */
  name: string;
  /** text beside the name, e.g. `43.7 %` */
  note: string;
  layout: BlockLayout;
}

interface LayoutPicture {
  title: string;
  /** line below the title, at most 80 characters */
  subtitle: string;
  /** in reading order */
  panels: readonly LayoutPanel[];
}

const MARGIN = 24;
const HEADER = 56;
const BAR_WIDTH = 104;

/** Draws the panels in a grid, with the color scale beside them. @returns SVG */
export function layoutPicture({ title, subtitle, panels }: LayoutPicture): string {
  const grid = panelGrid(panels.map(({ name }) => name));
  const rasters = panels.map(({ layout }) => rasterOf(layout, grid.side * PIXELS));
  const range = rangeOf(rasters);
  const size = grid.side > 250 ? 14 : grid.side > 150 ? 12 : 10.5;
  const longestNote = Math.max(0, ...panels.map(({ note }) => note.length));
  const names = shortNames(
    panels.map(({ name }) => name),
    charactersIn(grid.side - longestNote * size * 0.6 - 8, size),
  );
  const body = panels.map((panel, i) =>
    drawPanel(
      { ...panel, name: names[i] as string },
      { side: grid.side, size, raster: rasters[i] as Raster, range, ...placeOf(i, grid) },
    ),
  );
  const right = MARGIN + grid.columns * cellWidth(grid.side);
  const top = MARGIN + HEADER + PANEL_MARGIN.top;
  const width = right + BAR_WIDTH;
  const heading = shortName(title, charactersIn(width - 2 * MARGIN, 20));
  return svgDocument({ width, height: MARGIN + HEADER + grid.rows * cellHeight(grid.side) }, [
    textElement(heading, { x: MARGIN, y: MARGIN + 18, size: 20, weight: 600 }),
    textElement(subtitle, { x: MARGIN, y: MARGIN + 40, size: 13, color: INK.soft }),
    ...body,
    colorBar({
      x: right + 8,
      y: top,
      height: Math.min(grid.side * 2, 300, grid.rows * cellHeight(grid.side) - 70),
      range,
    }),
  ]);
}

function placeOf(i: number, { side, columns }: Grid): { x: number; y: number } {
  return {
    x: MARGIN + (i % columns) * cellWidth(side) + PANEL_MARGIN.left,
    y: MARGIN + HEADER + Math.floor(i / columns) * cellHeight(side) + PANEL_MARGIN.top,
  };
}

/** Number of characters that fit into a width. @param width in px @param size font size in px */
function charactersIn(width: number, size: number): number {
  return Math.max(8, Math.floor(width / (size * 0.6)));
}

interface Drawing {
  /** side of the square, px */
  side: number;
  /** font size, px */
  size: number;
  raster: Raster;
  range: ColorRange;
  /** upper left corner of the square, px */
  x: number;
  y: number;
}

function drawPanel({ name, note, layout }: LayoutPanel, { side, size, raster, range, x, y }: Drawing): string {
  const tick = { size: 10.5, color: INK.soft };
  const [right, bottom, middle] = [x + side, y + side, side / 2];
  return [
    textElement(name, { x, y: y - 8, size, weight: 600 }),
    textElement(note, { x: right, y: y - 8, size, anchor: "end" }),
    imageElement(pngOf(raster, range), { x, y, width: side, height: side }),
    textElement("0", { x, y: bottom + 14, ...tick }),
    textElement("in", { x: x + middle, y: bottom + 14, anchor: "middle", ...tick }),
    textElement(String(layout.nIn), { x: right, y: bottom + 14, anchor: "end", ...tick }),
    textElement("0", { x: x - 6, y: y + 10, anchor: "end", ...tick }),
    textElement("out", { x: x - 6, y: y + middle + 4, anchor: "end", ...tick }),
    textElement(String(layout.nOut), { x: x - 6, y: bottom, anchor: "end", ...tick }),
  ].join("\n");
}

function pngOf({ width, height, values }: Raster, range: ColorRange): Uint8Array {
  const pixels = Uint8Array.from(values, (value) => levelOf(value, range));
  return encodePng({ width, height, pixels, palette: PALETTE });
}

/** A block layout as pixels. Each value is the mean number of blocks over the entries of the matrix under the pixel. */
interface Raster {
  /** pixels along the input side, left to right */
  width: number;
  /** pixels along the output side, top to bottom */
  height: number;
  /** (height, width), row by row */
  values: Float64Array;
}

/**
 * Computes the raster of a layout. A side of the matrix that is shorter than `most` keeps one pixel per entry.
 * @param most maximum number of pixels per side
 */
export function rasterOf(layout: BlockLayout, most: number): Raster {
  const { nIn, nOut } = layout;
  const [width, height] = [Math.min(nIn, most), Math.min(nOut, most)];
  const values = new Float64Array(width * height);
  const [column, row] = [pixelOf(nIn, width), pixelOf(nOut, height)];
  // A single pass in memory order, because the layers of GPT-2 have tens of millions of entries.
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

/** The pixel of each of n entries: pixel p begins at entry ⌊p n / pixels⌋. */
function pixelOf(n: number, pixels: number): Int32Array {
  const found = new Int32Array(n);
  for (let p = 0; p < pixels; p++) found.fill(p, Math.floor((p * n) / pixels), Math.floor(((p + 1) * n) / pixels));
  return found;
}

/** Number of entries of each pixel. */
function sizes(pixelOfEntry: Int32Array, pixels: number): Int32Array {
  const count = new Int32Array(pixels);
  for (const pixel of pixelOfEntry) count[pixel] = (count[pixel] as number) + 1;
  return count;
}

/** Smallest and largest value of all rasters, so that the picture uses the whole color scale. */
function rangeOf(rasters: readonly Raster[]): ColorRange {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const { values } of rasters) {
    for (const value of values) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  return { least: Math.min(least, most), most };
}

interface Grid {
  /** side of a square, px */
  side: number;
  columns: number;
  rows: number;
  /** whether layers of the same kind are in the same column */
  isAligned: boolean;
}

/** Space around a square for its axes, its title and the gap to the next panel, px. */
const PANEL_MARGIN = { left: 44, right: 16, top: 30, bottom: 40 } as const;

const PAGE = { width: 1440, height: 1100 };
/** Sides of squares that are tried, px. The page becomes longer than PAGE rather than the squares smaller than the last. */
const SIDES = [520, 400, 300, 230, 176];
/** Smaller sides for networks whose kinds of layers do not fit into one row otherwise, such as the seven of Llama. */
const NARROW_SIDES = [140, 116];

/** The grid with the largest squares for which all panels fit on one page, or else layers of one kind are in a column. */
export function panelGrid(names: readonly string[]): Grid {
  const grids = SIDES.map((side) => gridOf(names, side));
  const fits = ({ side, rows }: Grid) => rows * cellHeight(side) <= PAGE.height;
  const last = grids.at(-1) as Grid;
  const narrow = () => [last, ...NARROW_SIDES.map((side) => gridOf(names, side))].find(({ isAligned }) => isAligned);
  return grids.find(fits) ?? narrow() ?? last;
}

const cellWidth = (side: number): number => PANEL_MARGIN.left + side + PANEL_MARGIN.right;
const cellHeight = (side: number): number => PANEL_MARGIN.top + side + PANEL_MARGIN.bottom;

function gridOf(names: readonly string[], side: number): Grid {
  const fit = Math.max(1, Math.floor(PAGE.width / cellWidth(side)));
  // The kinds of layers repeat in each block of a network. A row has whole repetitions, so that layers of the same kind
  // are in the same column.
  const kinds = new Set(names.map((name) => name.replace(/\d+/g, "#"))).size;
  const repeats = kinds < names.length && kinds <= fit;
  const columns = Math.max(1, Math.min(names.length, repeats ? fit - (fit % kinds) : fit));
  return { side, columns, rows: Math.ceil(names.length / columns), isAligned: repeats };
}

interface ColorBar {
  /** upper left corner, px */
  x: number;
  y: number;
  height: number;
  range: ColorRange;
}

const BAR = { width: 16, leastGap: 16 } as const;

/** The color scale, labeled with counts of blocks. */
function colorBar({ x, y, height, range }: ColorBar): string {
  const column = encodePng({
    width: 1,
    height: LEVELS,
    pixels: Uint8Array.from({ length: LEVELS }, (_, row) => LEVELS - 1 - row),
    palette: PALETTE,
  });
  const ticks = ticksFor(range, height).map((count) => {
    const at = y + height * (1 - heat(count, range));
    return textElement(`${count}`, { x: x + BAR.width + 6, y: at + 4, size: 11, color: INK.soft });
  });
  return [
    textElement("blocks", { x, y: y - 26, size: 12, weight: 600 }),
    textElement("on an entry", { x, y: y - 12, size: 11, color: INK.soft }),
    imageElement(column, { x, y, width: BAR.width, height }),
    ...ticks,
  ].join("\n");
}

/**
 * Labels of the color scale: 0, the smallest and the largest count, and round numbers between them that have enough
 * room.
 * @param height height of the scale, px
 */
export function ticksFor(range: ColorRange, height: number): number[] {
  const rounded = (value: number) => (range.most >= 10 ? Math.round(value) : Math.round(value * 10) / 10);
  const [bottom, top] = [rounded(range.least), rounded(range.most)];
  const ticks = [...new Set([top, bottom, 0])];
  const place = (count: number) => height * heat(count, range);
  const isFree = (count: number) => ticks.every((other) => Math.abs(place(count) - place(other)) >= BAR.leastGap);
  for (let decade = 10 ** Math.floor(Math.log10(Math.max(top, 1))); decade >= 1; decade /= 10) {
    for (const step of [5 * decade, 2 * decade, decade]) {
      // A linear scale gets labels at equal steps. A square root scale has room for them at small counts only.
      const last = bottom > 0 ? top : step;
      for (let count = step; count <= last; count += step)
        if (count > bottom && count < top && isFree(count)) ticks.push(count);
    }
  }
  return ticks.sort((a, b) => a - b);
}
