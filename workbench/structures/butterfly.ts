// Which blocks of a square grid a flat butterfly keeps (Chen et al. 2022, arXiv 2112.00029, section 3.2): block row i
// keeps columns i XOR m for some masks m. Indices only.

/**
 * The first `count` masks: 0 is the diagonal, the powers of two are the butterfly's factors, and the rest follow by how
 * many bits they have, so that all of them together keep every block.
 * @param side blocks on each side, a power of two
 */
export function butterflyMasks(side: number, count: number): number[] {
  const bits = (mask: number) => mask.toString(2).replaceAll("0", "").length;
  return Array.from({ length: side }, (_, mask) => mask)
    .sort((a, b) => bits(a) - bits(b) || a - b)
    .slice(0, count);
}

/** The columns that each block row keeps, row by row: side · masks.length indices. */
export function keptColumns(side: number, masks: readonly number[]): Int32Array {
  return Int32Array.from({ length: side * masks.length }, (_, at) => {
    const row = Math.floor(at / masks.length);
    return row ^ (masks[at % masks.length] as number);
  });
}
