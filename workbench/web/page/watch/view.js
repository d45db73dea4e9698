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
  const [from, to] = change.kind === "range" ? change.range : zoomedRange(chosen ?? whole, change);
  const inside = /** @type {const} */ ([Math.max(from, whole[0]), Math.min(to, whole[1])]);
  const isWhole = inside[0] <= whole[0] && inside[1] >= whole[1];
  return isWhole || !(inside[0] < inside[1]) ? undefined : inside;
}

/** Keeps the place `at` where it is. @param {Range} range @param {{ factor: number, at: number }} zoom @returns {Range} */
const zoomedRange = ([from, to], { factor, at }) => [at - (at - from) * factor, at + (to - at) * factor];
