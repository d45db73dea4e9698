// What a count is: multiply-adds by part and together, once as the reference implementation counts them, to compare with
// published figures, and once as they are. No tensors.

/** Multiply-adds by the name of what makes them. */
export type Parts = Readonly<Record<string, number>>;

export interface Counted {
  parts: Parts;
  /** of all parts */
  total: number;
  /** total as a share of the dense model's; `reference`: of the rounded constant that published tables divide by */
  relative: number;
}

export interface Counts {
  /** as the reference counts: some products left out or taken at other sizes, see each model's file */
  reference: Counted;
  /** what runs, at the sizes at which it runs */
  actual: Counted;
}

/** Multiply-adds a row (for convolutions: an output position) of the layers that are structured, by layer name. */
export type LayerCosts = Readonly<Record<string, number>>;

/** @param dense what the total is divided by */
export function counted(parts: Parts, dense: number): Counted {
  const total = totalOf(parts);
  return { parts, total, relative: total / dense };
}

export const totalOf = (parts: Parts): number => Object.values(parts).reduce((sum, part) => sum + part, 0);

/** Σ over `items` of what `part` makes of each. */
export const sumOver = <Item>(items: readonly Item[], part: (item: Item) => number): number =>
  items.reduce((sum, item) => sum + part(item), 0);
