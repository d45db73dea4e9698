// The linear layers of one block of some models, each with the layer of SmolLM2 whose spans it has in benches.

/** A linear layer, and the layer of SmolLM2 that it is like. */
export interface BenchLayer {
  nOut: number;
  nIn: number;
  like: string;
}

const MLP_OF_768 = [
  { nOut: 3072, nIn: 768, like: "14.gate_proj" },
  { nOut: 768, nIn: 3072, like: "14.down_proj" },
] as const;

/** By the end of a layer's name. A layer that matches none reads the residual stream. */
const LIKE: readonly (readonly [RegExp, string])[] = [
  [/\b(o_proj|attn\.(c_)?proj)$/, "14.o_proj"],
  [/\b(gate_proj|up_proj|c_fc|fc1)$/, "14.gate_proj"],
  [/\b(down_proj|mlp\.c_proj|fc2)$/, "14.down_proj"],
];

/** The layer of SmolLM2 whose spans a layer of a model gets, by its name. */
export const likeOf = (name: string): string => LIKE.find(([pattern]) => pattern.test(name))?.[1] ?? "27.q_proj";

export const BLOCKS = {
  SmolLM2: [
    ...[576, 576].map((n) => ({ nOut: n, nIn: 576, like: "27.q_proj" })),
    { nOut: 576, nIn: 576, like: "14.o_proj" },
    ...[1536, 1536].map((n) => ({ nOut: n, nIn: 576, like: "14.gate_proj" })),
    { nOut: 576, nIn: 1536, like: "14.down_proj" },
  ],
  "GPT-2 small": [
    { nOut: 2304, nIn: 768, like: "27.q_proj" },
    { nOut: 768, nIn: 768, like: "14.o_proj" },
    ...MLP_OF_768,
  ],
  "ViT-B": [
    ...[768, 768, 768].map((n) => ({ nOut: n, nIn: 768, like: "27.q_proj" })),
    { nOut: 768, nIn: 768, like: "14.o_proj" },
    ...MLP_OF_768,
  ],
} as const satisfies Record<string, readonly BenchLayer[]>;
