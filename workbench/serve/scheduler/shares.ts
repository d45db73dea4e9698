// Divides the tokens that a turn may process among the prompts that wait to be processed: equally, and what a short prompt
// does not need goes to the others. So a short prompt is not held up by long ones before it.

/**
 * @param wanted tokens that each could use
 * @param budget tokens in total
 * @returns tokens that each gets, at most what it wants
 */
export function sharesOf(wanted: readonly number[], budget: number): number[] {
  const shares = wanted.map(() => 0);
  // From the smallest wish on: it is met if it is below an equal share of what is left.
  const order = [...wanted.keys()].sort((a, b) => (wanted[a] as number) - (wanted[b] as number) || a - b);
  let left = budget;
  for (const [done, index] of order.entries()) {
    const others = order.length - done;
    const share = Math.min(wanted[index] as number, Math.max(1, Math.floor(left / others)), left);
    shares[index] = share;
    left -= share;
  }
  return shares;
}
