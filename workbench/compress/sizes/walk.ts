// The ranks that a cut keeps. Between two sizes the ranks of all tiles of all layers rise evenly: the i-th of d ranks is
// added at i / d of the way. A cut walks on this way as long as the parameters allow it, and then adds single ranks that
// still fit. The Python files do the same (gblr_sizes.py). This file uses no tensors.

/** A layer on the way: the ranks of its tiles at each size, and what ranks cost. */
export interface LayerOnWay {
  /** by size, then by tile; none falls */
  ranks: readonly (readonly number[])[];
  /** number of parameters with these ranks */
  cost(ranks: readonly number[]): number;
}

/**
 * The ranks of all layers.
 * @param allowed most parameters of all layers together
 */
export function ranksWithin(layers: readonly LayerOnWay[], allowed: number): number[][] {
  const sizes = layers[0]?.ranks.length ?? 0;
  const at = (size: number) => layers.map(({ ranks }) => [...(ranks[size] ?? (ranks[0] ?? []).map(() => 0))]);
  const costs = (kept: readonly number[][]) => layers.map(({ cost }, layer) => cost(kept[layer] as number[]));
  let size = -1;
  while (size + 1 < sizes && sumOf(costs(at(size + 1))) <= allowed) size++;
  const kept = at(size);
  if (size + 1 === sizes) return kept;
  const own = costs(kept);
  let total = sumOf(own);
  for (const { layer, tile } of steps(kept, at(size + 1))) {
    const ranks = kept[layer] as number[];
    ranks[tile] = (ranks[tile] as number) + 1;
    const cost = (layers[layer] as LayerOnWay).cost(ranks);
    const next = total - (own[layer] as number) + cost;
    if (next <= allowed) [total, own[layer]] = [next, cost];
    else ranks[tile] = (ranks[tile] as number) - 1;
  }
  return kept;
}

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** The ranks between two sizes, one by one, in the order in which they are added. */
function steps(from: readonly number[][], to: readonly number[][]): { layer: number; tile: number; share: number }[] {
  const found = from.flatMap((ranks, layer) =>
    ranks.flatMap((rank, tile) => {
      const added = (to[layer]?.[tile] as number) - rank;
      return Array.from({ length: added }, (_, i) => ({ layer, tile, share: (i + 1) / added }));
    }),
  );
  return found.sort((a, b) => a.share - b.share || a.layer - b.layer || a.tile - b.tile);
}
