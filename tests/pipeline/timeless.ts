// Rows of a comparison without what depends on the clock and on the memory of the process, so that the rows of two runs
// can be compared bit by bit.

import type { ComparisonRow } from "../../workbench/report/index.ts";

export function timeless(rows: readonly ComparisonRow[]): Partial<ComparisonRow>[] {
  return rows.map(({ seconds: _, stageSeconds, speed, peakMemory: _1, ...row }) => ({
    ...row,
    // Which stages and speeds were measured does not depend on the clock.
    ...(stageSeconds && { stageSeconds: mapped(stageSeconds) }),
    ...(speed && { speed: mapped(speed) }),
  }));
}

const mapped = (times: object): Record<string, number> =>
  Object.fromEntries(Object.keys(times).map((name) => [name, 0]));
