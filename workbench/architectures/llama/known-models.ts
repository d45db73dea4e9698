// Published models of Llama's family by the shapes of their tensors, with the settings that shapes do not determine. For
// weights without config.json that have these shapes. The settings are an assumption, which `gblr import` prints: other
// published models have the same shapes and other settings. For example, Mistral-7B-v0.1 differs from v0.2 in the base
// and the sliding window, Llama-3-8B from 3.1 in the scaling, Qwen2.5-Math from Qwen2.5 in the base, and SmolLM from
// SmolLM2 in the base and the positions.
//
// Sizes, bases, scaling, ε and positions were compared with LitGPT 0.5.13 (litgpt/config.py), which has all of these
// models except SmolLM3. They agree, except that LitGPT has the positions of the base models of Qwen2.5-1.5B and 7B,
// 131 072. SmolLM3's values are not confirmed by such a table.

/** What the shapes of a model's tensors determine. */
export interface LlamaShapes {
  /** `model_type` as far as names determine it: SmolLM3 and Mistral have the names of Llama */
  family: string;
  width: number;
  innerWidth: number;
  layers: number;
  /** rows of the queries and of the keys of one layer */
  queries: number;
  keys: number;
  vocabulary: number;
}

/** The settings that shapes do not determine. */
export interface LlamaSettings {
  /** `model_type` */
  type: string;
  /** components of a head */
  headSize: number;
  /** base of rotary positions */
  theta: number;
  /** further `rope_parameters`; default: no scaling */
  scaling?: Readonly<Record<string, unknown>>;
  /** ε of the normalizations */
  epsilon: number;
  /** longest sequence, in tokens */
  positions: number;
  /** further fields of config.json. Default: none */
  fields?: Readonly<Record<string, unknown>>;
}

/** A published model. Of several with the same shapes the table has one, whose other settings may not fit the rest. */
export interface KnownLlama extends LlamaSettings {
  name: string;
}

/** Width, inner width, layers, queries, keys. */
type Sizes = readonly [number, number, number, number, number];

interface Entry extends Omit<KnownLlama, "name"> {
  sizes: Sizes;
  /** number of tokens, if it distinguishes models with these sizes. Default: any */
  vocabulary?: number;
}

const SMOLLM2 = { type: "llama", headSize: 64, theta: 100_000, epsilon: 1e-5, positions: 8192 };
const LLAMA2 = { type: "llama", headSize: 128, theta: 10_000, epsilon: 1e-5, positions: 4096 };
const CODE_LLAMA = { ...LLAMA2, theta: 1_000_000, positions: 16_384, vocabulary: 32_016 };
const LLAMA3 = (factor: number, headSize: number) => ({
  ...{ type: "llama", headSize, theta: 500_000, epsilon: 1e-5, positions: 131_072 },
  scaling: {
    rope_type: "llama3",
    factor,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
});
const MISTRAL = {
  ...{ type: "mistral", headSize: 128, theta: 1_000_000, epsilon: 1e-5, positions: 32_768 },
  fields: { sliding_window: null },
};
const QWEN2 = { type: "qwen2", headSize: 128, theta: 1_000_000, epsilon: 1e-6, positions: 32_768 };
const QWEN3 = { type: "qwen3", headSize: 128, theta: 1_000_000, epsilon: 1e-6, positions: 40_960 };
const SMOLLM3 = { type: "smollm3", headSize: 128, theta: 5_000_000, epsilon: 1e-6, positions: 65_536 };

const KNOWN: Readonly<Record<string, Entry>> = {
  "SmolLM2-135M": { ...SMOLLM2, sizes: [576, 1536, 30, 576, 192] },
  "SmolLM2-360M": { ...SMOLLM2, sizes: [960, 2560, 32, 960, 320] },
  "SmolLM2-1.7B": { ...SMOLLM2, theta: 130_000, sizes: [2048, 8192, 24, 2048, 2048] },
  "TinyLlama-1.1B": { ...LLAMA2, headSize: 64, positions: 2048, sizes: [2048, 5632, 22, 2048, 256] },
  "CodeLlama-7B": { ...CODE_LLAMA, sizes: [4096, 11_008, 32, 4096, 4096] },
  "CodeLlama-13B": { ...CODE_LLAMA, sizes: [5120, 13_824, 40, 5120, 5120] },
  "Llama-2-7B": { ...LLAMA2, sizes: [4096, 11_008, 32, 4096, 4096] },
  "Llama-2-13B": { ...LLAMA2, sizes: [5120, 13_824, 40, 5120, 5120] },
  "Llama-3.1-8B": { ...LLAMA3(8, 128), sizes: [4096, 14_336, 32, 4096, 1024], vocabulary: 128_256 },
  "Llama-3.2-1B": { ...LLAMA3(32, 64), sizes: [2048, 8192, 16, 2048, 512] },
  "Llama-3.2-3B": { ...LLAMA3(32, 128), sizes: [3072, 8192, 28, 3072, 1024] },
  "Mistral-7B-v0.3": { ...MISTRAL, sizes: [4096, 14_336, 32, 4096, 1024], vocabulary: 32_768 },
  "Mistral-7B-Instruct-v0.2": { ...MISTRAL, sizes: [4096, 14_336, 32, 4096, 1024], vocabulary: 32_000 },
  "Qwen2.5-0.5B": { ...QWEN2, headSize: 64, sizes: [896, 4864, 24, 896, 128] },
  "Qwen2.5-1.5B-Instruct": { ...QWEN2, sizes: [1536, 8960, 28, 1536, 256] },
  "Qwen2.5-3B": { ...QWEN2, sizes: [2048, 11_008, 36, 2048, 256] },
  "Qwen2.5-7B-Instruct": { ...QWEN2, sizes: [3584, 18_944, 28, 3584, 512] },
  "Qwen3-0.6B": { ...QWEN3, sizes: [1024, 3072, 28, 2048, 1024] },
  "Qwen3-1.7B": { ...QWEN3, sizes: [2048, 6144, 28, 2048, 1024] },
  "Qwen3-4B": { ...QWEN3, sizes: [2560, 9728, 36, 4096, 1024] },
  "Qwen3-8B": { ...QWEN3, sizes: [4096, 12_288, 36, 4096, 1024] },
  "SmolLM3-3B": { ...SMOLLM3, sizes: [2048, 11_008, 36, 2048, 512] },
};

/** Families whose names of tensors are Llama's. */
const NAMED_AS_LLAMA: ReadonlySet<string> = new Set(["llama", "mistral", "smollm3"]);

/** The published model with these shapes; undefined if there is none. */
export function knownLlama(shapes: LlamaShapes): KnownLlama | undefined {
  const { family, width, innerWidth, layers, queries, keys } = shapes;
  const sizes = String([width, innerWidth, layers, queries, keys]);
  for (const [name, entry] of Object.entries(KNOWN)) {
    const named = NAMED_AS_LLAMA.has(entry.type) ? "llama" : entry.type;
    const { vocabulary = shapes.vocabulary, ...settings } = entry;
    if (named === family && String(entry.sizes) === sizes && vocabulary === shapes.vocabulary) {
      return { ...settings, name };
    }
  }
  return undefined;
}

/** From this width on, heads of models that are not known are assumed to have 128 components instead of 64. */
const WIDE = 3072;

/** Settings of most models of the family, for shapes of no published model. */
export function usualLlama({ family, width, queries, keys }: LlamaShapes): LlamaSettings {
  const sizes = width < WIDE ? [64, 128] : [128, 64];
  const headSize = sizes.find((size) => queries % size === 0 && keys % size === 0) ?? 0;
  const usual: Readonly<Record<string, LlamaSettings>> = { qwen2: QWEN2, qwen3: QWEN3 };
  return { ...(usual[family] ?? { ...LLAMA2, positions: 2048 }), headSize };
}
