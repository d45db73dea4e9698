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
