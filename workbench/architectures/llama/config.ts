// Reads and checks the config.json of Llama and of the families that share its forward pass. Fields that change the
// computation are obeyed, or refused by name; defaults are those of transformers' config class of the family.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { baseModelType } from "../../../hub/python/index.ts";
import type { GateActivation } from "../../engine/ops/index.ts";
import { blockCount, chance, checked, count, EndOfText } from "../parts/config-fields.ts";
import { FAMILIES, type Family } from "./families.ts";
import { refuseOtherFields } from "./refused-fields.ts";
import type { Rotary } from "./rotary.ts";
import { readRotary } from "./rotary-config.ts";

/** The settings of a model of Llama's family that its computation needs. */
export interface LlamaConfig {
  /** n, the width of the residual stream */
  width: number;
  heads: number;
  /** heads of keys and values; each serves heads / keyValueHeads heads of queries */
  keyValueHeads: number;
  /** components of a head */
  headSize: number;
  /** width of each MLP's hidden layer */
  innerWidth: number;
  vocabulary: number;
  /** longest sequence, in tokens */
  positions: number;
  /** ε of the normalizations */
  epsilon: number;
  activation: GateActivation;
  biases: { queriesKeysValues: boolean; output: boolean; mlp: boolean };
  /** whether each head of queries and keys is normalized */
  normedHeads: boolean;
  rotary: Rotary;
  /** the blocks, in the order in which they run */
  blocks: readonly LlamaBlock[];
  /** dropout rate of attention weights in training */
  dropout: number;
  /** whether the output head is the token embedding */
  tiedHead: boolean;
  /** standard deviation of initial weights */
  deviation: number;
  /** tokens that end a text */
  endOfText: readonly number[];
}

/** What differs among the blocks of a model. */
export interface LlamaBlock {
  /** whether queries and keys have rotary positions */
  rotary: boolean;
  /** number of the latest keys to which a query attends; undefined: all */
  window: number | undefined;
}

/** Activations by name. Names of the tanh approximation differ only in the precision of Python's constants. */
const ACTIVATIONS: Readonly<Record<string, GateActivation>> = {
  silu: "silu",
  swish: "silu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
};

const FULL = "full_attention";
const SLIDING = "sliding_attention";
const flag = z.boolean().nullish();

/** A field of which null means the default. */
const orElse = <T>(schema: z.ZodType<T>, usual: T) => schema.nullish().transform((value): T => value ?? usual);

const fieldsOf = ({ defaults }: Family) =>
  z.object({
    vocab_size: count.default(defaults.vocab_size),
    hidden_size: count.default(defaults.hidden_size),
    intermediate_size: count.default(defaults.intermediate_size),
    num_hidden_layers: blockCount.default(defaults.num_hidden_layers),
    num_attention_heads: count.default(defaults.num_attention_heads),
    num_key_value_heads: count.nullable().default(defaults.num_key_value_heads),
    head_dim: count.nullable().default(defaults.head_dim),
    max_position_embeddings: count.default(defaults.max_position_embeddings),
    rms_norm_eps: z.number().positive().default(1e-6),
    hidden_act: z.enum(Object.keys(ACTIVATIONS)).default("silu"),
    attention_bias: flag,
    mlp_bias: flag,
    attention_dropout: orElse(chance(0), 0),
    initializer_range: z.number().min(0).max(1).default(0.02),
    tie_word_embeddings: orElse(z.boolean(), defaults.tie_word_embeddings),
    eos_token_id: EndOfText,
    sliding_window: count.nullable().default(defaults.sliding_window),
    use_sliding_window: orElse(z.boolean(), false),
    max_window_layers: z.int().min(0).default(28),
    layer_types: z.array(z.enum([FULL, SLIDING])).nullish(),
    no_rope_layers: z.array(z.union([z.literal([0, 1]), z.boolean()])).nullish(),
    no_rope_layer_interval: z.int().min(1).default(4),
  });

type Fields = z.infer<ReturnType<typeof fieldsOf>>;

/**
 * Reads and checks the config.json of a model of Llama's family.
 * @throws ModelError such as `llama/config.json: num_key_value_heads must divide num_attention_heads 9, is 2`
 */
export function readLlamaConfig(json: Record<string, unknown>, file: string): LlamaConfig {
  const family = FAMILIES[baseModelType(String(json.model_type))] as Family;
  refuseOtherFields(json, family, file);
  const fields = checked(fieldsOf(family), json, file);
  const heads = fields.num_attention_heads;
  const keyValueHeads = fields.num_key_value_heads ?? heads;
  expectDivides(["num_key_value_heads", keyValueHeads], ["num_attention_heads", heads], file);
  if (fields.head_dim === null) {
    expectDivides(["num_attention_heads", heads], ["hidden_size", fields.hidden_size], file);
  }
  const headSize = fields.head_dim ?? fields.hidden_size / heads;
  const trained = fields.max_position_embeddings;
  const { rope_theta: theta } = family.defaults;
  const rotary = readRotary(json, { headSize, positions: trained, theta, file });
  const { kind } = rotary.scaling;
  return {
    width: fields.hidden_size,
    heads,
    keyValueHeads,
    headSize,
    innerWidth: fields.intermediate_size,
    vocabulary: fields.vocab_size,
    // Other kinds of scaling are contained in max_position_embeddings.
    positions: kind === "dynamic" ? Math.trunc(trained * rotary.scaling.factor) : trained,
    epsilon: fields.rms_norm_eps,
    activation: ACTIVATIONS[fields.hidden_act] as GateActivation,
    biases: biasesOf(family, fields),
    normedHeads: family.normedHeads,
    rotary,
    blocks: blocksOf(family, fields, file),
    dropout: fields.attention_dropout,
    tiedHead: fields.tie_word_embeddings,
    deviation: fields.initializer_range,
    endOfText: [(json.eos_token_id === undefined ? family.defaults.eos_token_id : fields.eos_token_id) ?? []].flat(),
  };
}

type Field = readonly [name: string, value: number];

function expectDivides([name, divisor]: Field, [of, number]: Field, file: string): void {
  if (number % divisor !== 0) throw new ModelError(`${name} must divide ${of} ${number}, is ${divisor}`, { file });
}

function biasesOf({ biases }: Family, fields: Fields): LlamaConfig["biases"] {
  const has = (rule: "attention_bias" | "mlp_bias" | boolean) =>
    typeof rule === "boolean" ? rule : (fields[rule] ?? false);
  return {
    queriesKeysValues: has(biases.queriesKeysValues),
    output: has(biases.output),
    mlp: has(biases.mlp),
  };
}

function blocksOf(family: Family, fields: Fields, file: string): LlamaBlock[] {
  const { num_hidden_layers: blocks, sliding_window: window, use_sliding_window: slides } = fields;
  const turns = turnsOf(family, fields, file);
  const isSliding: Record<Family["windows"], (block: number) => boolean> = {
    none: () => false,
    all: () => true,
    later: (block) => slides && block >= fields.max_window_layers,
    positionless: (block) => slides && !turns[block],
  };
  const usual = Array.from({ length: blocks }, (_, i) => window !== null && isSliding[family.windows](i));
  const sliding = fields.layer_types ? slidingByType(fields.layer_types, usual, { family, fields, file }) : usual;
  return sliding.map((slides, i) => ({
    rotary: turns[i] as boolean,
    window: slides ? (window as number) : undefined,
  }));
}

/** Whether each block has rotary positions. Only SmolLM3 has blocks without them. */
function turnsOf({ windows }: Family, fields: Fields, file: string): boolean[] {
  const { num_hidden_layers: blocks, no_rope_layers: flags, no_rope_layer_interval: interval } = fields;
  if (windows !== "positionless") return Array.from({ length: blocks }, () => true);
  if (!flags) return Array.from({ length: blocks }, (_, i) => (i + 1) % interval !== 0);
  if (flags.length >= blocks) return flags.slice(0, blocks).map(Boolean);
  throw new ModelError(`no_rope_layers has ${flags.length} entries: expected one for each of ${blocks} layers`, {
    file,
  });
}

interface TypesContext {
  family: Family;
  fields: Fields;
  file: string;
}

/** Which blocks have a sliding window by `layer_types`. @throws ModelError if other fields contradict it */
function slidingByType(
  types: readonly string[],
  usual: readonly boolean[],
  { family, fields, file }: TypesContext,
): boolean[] {
  const { num_hidden_layers: blocks, sliding_window: window, use_sliding_window: slides } = fields;
  if (types.length !== blocks) {
    throw new ModelError(`layer_types has ${types.length} entries: expected one for each of ${blocks} layers`, {
      file,
    });
  }
  const sliding = types.map((type) => type === SLIDING);
  const chooses = family.windows === "later" || family.windows === "positionless";
  if (chooses && (!sliding.includes(true) || (slides && window !== null))) return sliding;
  const other = sliding.findIndex((each, i) => each !== usual[i]);
  if (other < 0) return sliding;
  const by = chooses ? "use_sliding_window and sliding_window" : `${family.title}'s sliding_window`;
  const expected = usual[other] ? SLIDING : FULL;
  throw new ModelError(`layer_types[${other}] is ${types[other]}: expected ${expected} by ${by}`, { file });
}
