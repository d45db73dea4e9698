// The chart of a metric by the size of a cut, for the card of a model of several sizes: a curve, and a dashed line for
// the dense model.

import { metricNamed } from "../../../hub/card/comparison.ts";
import type { SizesFacts } from "../../../hub/card/index.ts";
import { renderPng } from "../pictures/png.ts";
import { metricByCostChart } from "./by-cost.ts";
import { chartSvg } from "./chart.ts";

/**
 * The chart as PNG.
 * @returns undefined if nothing was measured
 */
export async function sizesPicture({ measured }: SizesFacts): Promise<Uint8Array | undefined> {
  if (!measured) return undefined;
  const { metric, dense, points } = measured;
  const chart = metricByCostChart({
    title: `${metricNamed(metric).label} by size`,
    metric,
    x: { title: "linear parameters kept", isShare: true },
    points: [
      { x: undefined, y: dense, series: "dense" },
      ...points.map(({ keep, value }) => ({ x: keep, y: value, series: "cut" })),
    ],
  });
  return chart && renderPng(await chartSvg(chart));
}
