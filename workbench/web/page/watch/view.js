// The part of the x axis that all charts show: the whole runs, which grow, or a part that was chosen.

/**
 * @typedef {readonly [from: number, to: number]} Range
 * @typedef {{ kind: "whole" } | { kind: "range", range: Range } | { kind: "zoom", factor: number, at: number }} ViewChange
 */

/** The x axis of the runs as a whole. @param {readonly (readonly { x: number }[])[]} curves each in the order of x @returns {Range} */
export function wholeRange(curves) {
  const first = curves.flatMap((points) => (points[0] ? [points[0].x] : []));
  const last = curves.flatMap((points) => points.at(-1)?.x ?? []);
  if (last.length === 0) return [0, 1];
  const [from, to] = [Math.min(...first), Math.max(...last)];
  return from < to ? [from, to] : [from - 0.5, to + 0.5];
}

/**
 * The part that was chosen, after a change.
 * @param {Range | undefined} chosen undefined for the whole runs, also for those steps that are still to come
 * @param {ViewChange} change
 * @param {Range} whole
 * @returns {Range | undefined}
 */
export function changedView(chosen, change, whole) {
  if (change.kind === "whole") return undefined;
  const [from, to] =
    change.kind === "range" ? clipped(change.range, whole) : zoomedRange(chosen ?? whole, change, whole);
  return (from <= whole[0] && to >= whole[1]) || !(from < to) ? undefined : [from, to];
}

/** @param {Range} range @param {Range} whole @returns {Range} */
const clipped = ([from, to], whole) => [Math.max(from, whole[0]), Math.min(to, whole[1])];

/**
 * Keeps the place `at` where it is, unless the part would go beyond the runs.
 * @param {Range} range @param {{ factor: number, at: number }} zoom @param {Range} whole
 * @returns {Range}
 */
function zoomedRange([from, to], { factor, at }, whole) {
  const size = Math.min((to - from) * factor, whole[1] - whole[0]);
  const start = Math.max(whole[0], Math.min(at - (at - from) * factor, whole[1] - size));
  return [start, start + size];
}
