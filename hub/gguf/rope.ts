// Rotary positions: `rope_parameters` of config.json from the metadata and from the tensor rope_freqs.weight. llama.cpp
// has no field for Llama 3.1's scaling. Its converter computes the factor of each frequency and stores those; the
// parameters are recovered here by computing the factors again.

import { quote } from "../files/file-error.ts";
import { dequantize } from "./dequantize.ts";
import type { GgufFile } from "./header.ts";
import type { Metadata } from "./metadata.ts";
import { GgufError } from "./types.ts";

/** Keys of an architecture's metadata that are about rotary positions. */
export const ROPE_KEYS = [
  "rope.dimension_count",
  "rope.freq_base",
  "rope.scale_linear",
  "rope.scaling.attn_factor",
  "rope.scaling.factor",
  "rope.scaling.finetuned",
  "rope.scaling.original_context_length",
  "rope.scaling.type",
  "rope.scaling.yarn_attn_factor",
  "rope.scaling.yarn_beta_fast",
  "rope.scaling.yarn_beta_slow",
  "rope.scaling.yarn_ext_factor",
  "rope.scaling.yarn_log_multiplier",
] as const;

/** The tensor of the factors by which frequencies are divided. */
export const FACTORS = "rope_freqs.weight";

interface Rope {
  /** `rope_parameters` of config.json */
  parameters: Record<string, unknown>;
  /** names of tensors that the parameters replace */
  consumed: string[];
}

/**
 * The parameters of rotary positions.
 * @param headDim channels of a head, all of which are rotated
 * @throws GgufError for a scaling that config.json cannot express
 */
export async function ropeParameters(gguf: GgufFile, architecture: string, headDim: number): Promise<Rope> {
  const { file, metadata } = gguf;
  const key: Key = (name) => `${architecture}.${name}`;
  const rotated = metadata.count(key("rope.dimension_count")) ?? headDim;
  if (rotated !== headDim) {
    throw metadata.fail(key("rope.dimension_count"), `${headDim}, the channels of a head`, rotated);
  }
  const theta = metadata.number(key("rope.freq_base")) ?? 10_000;
  if (theta <= 0) throw metadata.fail(key("rope.freq_base"), "above 0", theta);
  const base = { rope_theta: theta };
  // llama.cpp multiplies cos and sin by it, whatever the scaling is.
  expectOne(metadata, key("rope.scaling.attn_factor"));
  const type = metadata.text(key("rope.scaling.type")) ?? "linear"; // llama.cpp's default
  const factor = metadata.number(key("rope.scaling.factor")) ?? metadata.number(key("rope.scale_linear")) ?? 0;
  const scaling = type === "none" || (type === "linear" && (factor === 0 || factor === 1)) ? undefined : type;
  const factors = await factorsOf(gguf, headDim);
  if (factors) {
    if (scaling !== undefined) {
      throw new GgufError(`has both ${FACTORS} and rope.scaling.type ${quote(type)}`, { file });
    }
    const known = llama3Scaling(factors, { theta, headDim });
    if (known) return { parameters: { ...base, ...known }, consumed: [FACTORS] };
    const problem = "has factors that are not those of Llama 3.1's scaling, the only one that is supported";
    throw new GgufError(problem, { file, tensor: FACTORS });
  }
  if (scaling === undefined) return { parameters: { ...base, rope_type: "default" }, consumed: [] };
  if (!(factor > 1)) throw metadata.fail(key("rope.scaling.factor"), "above 1", factor);
  if (scaling === "linear") return { parameters: { ...base, rope_type: "linear", factor }, consumed: [] };
  if (scaling !== "yarn") {
    throw new GgufError(`has rope.scaling.type ${quote(type)}; none, linear and yarn are supported`, { file });
  }
  return { parameters: { ...base, rope_type: "yarn", factor, ...yarnSettings(metadata, key) }, consumed: [] };
}

/** The full name of a key for an architecture. */
type Key = (name: (typeof ROPE_KEYS)[number]) => string;

/** The settings that only YaRN has. */
function yarnSettings(metadata: Metadata, key: Key): Record<string, unknown> {
  expectOne(metadata, key("rope.scaling.yarn_attn_factor"));
  expectOne(metadata, key("rope.scaling.yarn_ext_factor"));
  const multiplier = metadata.number(key("rope.scaling.yarn_log_multiplier")) ?? 0;
  if (multiplier !== 0) throw metadata.fail(key("rope.scaling.yarn_log_multiplier"), "0", multiplier);
  const fast = metadata.number(key("rope.scaling.yarn_beta_fast"));
  const slow = metadata.number(key("rope.scaling.yarn_beta_slow"));
  const original = metadata.count(key("rope.scaling.original_context_length"));
  return {
    ...(fast !== undefined && { beta_fast: fast }),
    ...(slow !== undefined && { beta_slow: slow }),
    ...(original !== undefined && { original_max_position_embeddings: original }),
  };
}

function expectOne(metadata: Metadata, key: string): void {
  const value = metadata.number(key) ?? 1;
  if (value !== 1) throw metadata.fail(key, "1, the only value that is supported", value);
}

/** Scaling of Llama 3.1 and 3.2: the same thresholds everywhere (transformers, `rope_type` llama3). */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
const THRESHOLDS = {
  lowFactor: LLAMA3.low_freq_factor,
  highFactor: LLAMA3.high_freq_factor,
  trained: LLAMA3.original_max_position_embeddings,
};

/** Largest relative difference of factors, which were computed in float32. */
const TOLERANCE = 1e-4;

/** The factors of all frequencies that the file has, if any. */
async function factorsOf({ file, tensors }: GgufFile, headDim: number): Promise<Float32Array | undefined> {
  const tensor = tensors.get(FACTORS);
  if (!tensor) return undefined;
  if (tensor.shape.length !== 1 || tensor.shape[0] !== headDim / 2) {
    const found = `has shape [${tensor.shape.join(", ")}]`;
    const problem = `must have ${headDim / 2} factors, half the channels of a head; ${found}`;
    throw new GgufError(problem, { file, tensor: FACTORS });
  }
  return dequantize(await tensor.source.read(tensor.start, tensor.byteLength), tensor.type);
}

/** Parameters that give these factors; undefined if there are none. */
function llama3Scaling(
  factors: Float32Array,
  { theta, headDim }: { theta: number; headDim: number },
): Record<string, unknown> | undefined {
  if (factors.every((factor) => factor === 1)) return { rope_type: "default" };
  const factor = Number((factors.at(-1) as number).toPrecision(6));
  const isLlama3 = factors.every((found, i) => {
    const expected = llama3Factor(theta ** ((2 * i) / headDim), { factor, ...THRESHOLDS });
    return Math.abs(expected - found) <= TOLERANCE * expected;
  });
  return isLlama3 ? { rope_type: "llama3", factor, ...LLAMA3 } : undefined;
}

/** Llama 3.1's scaling of rotary positions. */
export interface Llama3Scaling {
  factor: number;
  lowFactor: number;
  highFactor: number;
  /** length of the sequences of training without scaling, in tokens */
  trained: number;
}

/** The factor by which a frequency is divided, as in rope_freqs.weight. @param period tokens per radian */
export function llama3Factor(period: number, { factor, lowFactor, highFactor, trained }: Llama3Scaling): number {
  const wavelength = 2 * Math.PI * period;
  if (wavelength < trained / highFactor) return 1;
  if (wavelength > trained / lowFactor) return factor;
  const smooth = (trained / wavelength - lowFactor) / (highFactor - lowFactor);
  return 1 / ((1 - smooth) / factor + smooth);
}
