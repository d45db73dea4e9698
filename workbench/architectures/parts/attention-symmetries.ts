// The free permutations of multi-head attention: components of a head, heads that share keys and values, and groups of
// such heads. Rotary positions fix the order of the components that they rotate. See docs/method.md, "Permutations".

import { type Member, partsOf, type Symmetry } from "../symmetry.ts";

/** An attention layer. Places are whole axes, or axes from an offset on if queries, keys and values are one layer. */
export interface AttentionPlaces {
  /** name of the layer of outputs */
  name: string;
  /** heads of queries */
  heads: number;
  /** heads of keys and values; each serves heads / keyValueHeads consecutive heads of queries. Default: `heads` */
  keyValueHeads?: number;
  /** components of a head */
  headSize: number;
  /** components at the start of each head of queries and keys that have rotary positions. Default 0 */
  rotated?: number;
  /** where the layers of queries, keys and values have their outputs */
  queries: readonly Member[];
  keys: readonly Member[];
  values: readonly Member[];
  /** where the output layer has its inputs */
  outputs: readonly Member[];
  /** gains of the normalizations of queries and keys, which all heads share. Default: none */
  gains?: readonly Member[];
}

/** The symmetries of attention, those within heads first. */
export function attentionSymmetries(attention: AttentionPlaces): Symmetry[] {
  const { name, heads, keyValueHeads = heads, headSize, queries, keys, values, outputs } = attention;
  const group = heads / keyValueHeads;
  const groups = Array.from({ length: keyValueHeads }, (_, i) => ({
    name: `${name}, ${group === 1 ? "head" : "group"} ${i}`,
    /** first component of the group among queries, and of its head among keys */
    first: i * group * headSize,
    own: i * headSize,
  }));
  const within = { repeats: group, stride: headSize };
  return [
    ...keySymmetries(attention, groups, within),
    ...groups.map(({ name, first, own }): Symmetry => {
      const members = [...partsOf(values, { offset: own }), ...partsOf(outputs, { offset: first, ...within })];
      return { name, kind: "values", size: headSize, members };
    }),
    ...groups.map(({ name, first }): Symmetry => {
      const members = partsOf([...queries, ...outputs], { offset: first, each: headSize });
      return { name, kind: "heads", size: group, members };
    }),
    {
      ...{ name, kind: "heads", size: keyValueHeads },
      members: [
        ...partsOf([...queries, ...outputs], { each: group * headSize }),
        ...partsOf([...keys, ...values], { each: headSize }),
      ],
    },
  ];
}

/** Components of queries and keys without positions: one order for each group, or for all heads if they share gains. */
function keySymmetries(
  { name, heads, keyValueHeads = heads, headSize, rotated = 0, queries, keys, gains = [] }: AttentionPlaces,
  groups: readonly { name: string; first: number; own: number }[],
  within: { repeats: number; stride: number },
): Symmetry[] {
  const size = headSize - rotated;
  if (gains.length === 0) {
    return groups.map(({ name, first, own }) => {
      const ofQueries = partsOf(queries, { offset: first + rotated, ...within });
      return { name, kind: "keys", size, members: [...ofQueries, ...partsOf(keys, { offset: own + rotated })] };
    });
  }
  const all = { offset: rotated, stride: headSize };
  const members = [
    ...partsOf(queries, { ...all, repeats: heads }),
    ...partsOf(keys, { ...all, repeats: keyValueHeads }),
    ...partsOf(gains, { offset: rotated }),
  ];
  return [{ name, kind: "keys", size, members }];
}
