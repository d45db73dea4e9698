// The scale of a layout picture: colors beside the counts that they stand for.

import { heat, LEVELS, PALETTE } from "./heat-scale.ts";
import { encodePng } from "./png.ts";
import { INK, imageElement, textElement } from "./svg.ts";

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
