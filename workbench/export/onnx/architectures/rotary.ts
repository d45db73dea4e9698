// Rotary positions in a graph: the cosines and sines of the tokens' angles, and the rotation of queries and keys. The
// file holds frequencies, from which angles are computed when the graph runs.

import { frequenciesOf, type Rotary } from "../../../architectures/llama/rotary.ts";
import { type Graph, TYPES, type Value } from "../graph.ts";
import type { Tokens } from "../language.ts";
import { add, concat, mul, split, unsqueeze } from "../operators.ts";

/** float32 (1 or batch, 1, tokens, size / 2) */
export interface Angles {
  cos: Value;
  sin: Value;
}

/** The cosines and sines of the positions of tokens. */
export function anglesOf(g: Graph, rotary: Rotary, tokens: Tokens): Angles {
  const { frequencies, scale } = frequenciesOf(rotary, 0);
  const fixed = g.weights({ name: "rotary.frequencies", dtype: "F32", shape: [rotary.size / 2], data: frequencies });
  const places = unsqueeze(g, g.op("Cast", [tokens.positions], { to: TYPES.F32 }), [1, 3]);
  const angles = mul(g, places, growing(g, rotary, tokens) ?? fixed);
  const [cos, sin] = [g.op("Cos", [angles]), g.op("Sin", [angles])];
  if (scale === 1) return { cos, sin };
  return { cos: mul(g, cos, g.number(scale)), sin: mul(g, sin, g.number(scale)) };
}

/** Frequencies whose base grows with the length of the sequence; undefined if the scaling is of another kind. */
function growing(g: Graph, { size, theta, scaling }: Rotary, { total }: Tokens): Value | undefined {
  if (scaling.kind !== "dynamic") return undefined;
  const { factor, trained } = scaling;
  const length = g.op("Cast", [g.op("Max", [total, g.int(trained)])], { to: TYPES.F32 });
  const growth = add(g, mul(g, length, g.number(factor / trained)), g.number(1 - factor));
  const base = mul(g, g.op("Pow", [growth, g.number(size / (size - 2))]), g.number(theta));
  const powers = Float32Array.from({ length: size / 2 }, (_, i) => (-2 * i) / size);
  const exponents = g.weights({ name: "rotary.powers", dtype: "F32", shape: [size / 2], data: powers });
  return g.op("Pow", [base, exponents]);
}

/** Rotates the first `size` components of each head. @param x float32 (batch, heads, tokens, head_dim) */
export function rotated(
  g: Graph,
  x: Value,
  { turns: { cos, sin }, size, headSize }: { turns: Angles; size: number; headSize: number },
): Value {
  const half = size / 2;
  const lengths = headSize > size ? [half, half, headSize - size] : [half, half];
  const [first, second, ...rest] = split(g, x, { axis: -1, lengths }) as [Value, Value, ...Value[]];
  const turned = [
    g.op("Sub", [mul(g, first, cos), mul(g, second, sin)]),
    add(g, mul(g, second, cos), mul(g, first, sin)),
  ];
  return concat(g, [...turned, ...rest], -1);
}
