// A histogram as one line of text.

const BARS = "▁▂▃▄▅▆▇█";

/** One character a bin, the highest bin full; an empty bin is a dot. */
export function sparkline(counts: readonly number[]): string {
  const most = Math.max(...counts);
  return counts.map((count) => (count === 0 ? "·" : BARS[Math.ceil((count / most) * BARS.length) - 1])).join("");
}
