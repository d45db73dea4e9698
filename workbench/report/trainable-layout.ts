// Where the blocks of a trainable GBLR matrix lie once it is evaluated: widths and locations rounded to samples, dead
// blocks dropped. These are the spans that its packed form has. Plain numbers.

import { type Span, spansOf } from "../gblr/widths.ts";
import type { BlockLayout } from "./block-layout.ts";

export interface TrainableStructure {
  /** (2, K) row by row, shares of n, input side first */
  widths: ArrayLike<number>;
  locations: ArrayLike<number>;
  nIn: number;
  nOut: number;
  /** of the masks; default Infinity: no Gaussian */
  sigma?: number;
}

export function layoutOfWidths({ widths, locations, nIn, nOut, sigma }: TrainableStructure): BlockLayout {
  const blocks = widths.length / 2;
  const [spanIn, spanOut] = [spansOf(nIn, sigma), spansOf(nOut, sigma)];
  const live: [Span, Span][] = [];
  for (let k = 0; k < blocks; k++) {
    const across = spanIn(widths[k] as number, locations[k] as number);
    const down = spanOut(widths[blocks + k] as number, locations[blocks + k] as number);
    if (across && down) live.push([across, down]);
  }
  return {
    nIn,
    nOut,
    startIn: live.map(([across]) => across.start),
    lengthIn: live.map(([across]) => across.length),
    startOut: live.map(([, down]) => down.start),
    lengthOut: live.map(([, down]) => down.length),
  };
}
