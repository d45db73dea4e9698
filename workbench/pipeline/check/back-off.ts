// Finds how many layers of a sorted list must be put back to dense: the fewest for which the loss stays within a limit.
// The loss is measured for some counts only, by bisection, beginning with the count at which the harms of the layers
// that stay converted predict that the limit is met.

/** What bisection needs to know. */
export interface BackOffOptions<Event> {
  /** harms of the layers, largest first */
  harms: readonly number[];
  /** loss that the remaining harms may add, for the first guess */
  allowed: number;
  /** measures whether the loss is within the limit when the first `count` layers are put back */
  isWithin(count: number): AsyncGenerator<Event, boolean>;
}

/**
 * Bisects. No layer put back is known to be outside of the limit, all layers put back to be within it.
 * @returns the smallest count that was measured to be within, or the number of layers. If the loss does not fall with
 *   each layer, a smaller count may be within too
 */
export async function* fewestPutBack<Event>({
  harms,
  allowed,
  isWithin,
}: BackOffOptions<Event>): AsyncGenerator<Event, number> {
  let [outside, within] = [0, harms.length];
  let next = predicted(harms, allowed);
  while (within - outside > 1) {
    const count = Math.min(Math.max(next, outside + 1), within - 1);
    if (yield* isWithin(count)) within = count;
    else outside = count;
    next = Math.floor((outside + within) / 2);
  }
  return within;
}

/** The smallest number of layers after which the harms of the others add up to at most `allowed`. */
export function predicted(harms: readonly number[], allowed: number): number {
  let rest = harms.reduce((sum, harm) => sum + harm, 0);
  let count = 0;
  while (rest > allowed && count < harms.length) rest -= harms[count++] as number;
  return count;
}
