// What the graphs of all language models share: token ids and their positions, causal attention with or without keys
// and values of earlier tokens, and logits. Names of inputs and outputs are those of Hugging Face's optimum.

import { languageTaskOf } from "../../architectures/task.ts";
import type { Model } from "../../models/index.ts";
import { type Graph, TYPES, type Value } from "./graph.ts";
import type { ModelGraph } from "./model-graph.ts";
import { add, concat, lengthOf, matMul, mul, reshape, transpose, unsqueeze } from "./operators.ts";

/** The sizes of the keys and values of a model. */
export interface KeyValueSizes {
  blocks: number;
  heads: number;
  headSize: number;
}

/** What the graph of a language model's body is made of. */
export interface LanguageGraph<Config> {
  keysAndValues(config: Config): KeyValueSizes;
  /** The hidden states to which the head is applied, float32 (batch, tokens, n). */
  hidden(model: ModelGraph<Config>, tokens: Tokens): Value;
}

/** Settings of attention. */
export interface Attention {
  block: number;
  scale: number;
  /** number of keys, up to its own position and with it, to which a query attends at most. Default: all */
  window?: number | undefined;
  /** heads of queries for each head of keys and values. Default 1 */
  group?: number;
}

/** Most negative float32: its weight in a softmax is 0, and sums with it stay finite. */
const HIDDEN = -3.4028234663852886e38;
/** An end beyond all lengths. */
const END = Number.MAX_SAFE_INTEGER;

/** Sides of values whose length is known when the graph runs. */
const BATCH = "batch_size";
const TOKENS = "sequence_length";
const PAST = "past_sequence_length";
const TOTAL = "total_sequence_length";

/** The tokens of a pass: their ids, their positions, and their attention to themselves and to earlier tokens. */
export class Tokens {
  /** int64 (batch, tokens) */
  readonly ids: Value;
  /** int64 (batch, tokens), or (1, tokens) without earlier tokens */
  readonly positions: Value;
  /** length of the sequence with earlier tokens, int64 of rank 0 */
  readonly total: Value;
  private readonly g: Graph;
  private readonly sizes: KeyValueSizes;
  private readonly past: readonly (readonly [k: Value, v: Value])[];
  /** (batch, total), 1 for tokens and 0 for padding; undefined if there is no padding */
  private readonly attentionMask: Value | undefined;
  /** number of earlier tokens, int64 of rank 0 */
  private readonly before: Value;
  /** keys and values of all tokens, by the names of outputs */
  private readonly present = new Map<string, Value>();
  private readonly masks = new Map<number | undefined, Value>();

  /** @param withPast whether keys and values of earlier tokens are inputs, and those of all tokens outputs */
  constructor(g: Graph, sizes: KeyValueSizes, withPast: boolean) {
    this.g = g;
    this.sizes = sizes;
    this.ids = g.input("input_ids", "I64", [BATCH, TOKENS]);
    this.attentionMask = withPast ? g.input("attention_mask", "I64", [BATCH, TOTAL]) : undefined;
    const shape = [BATCH, sizes.heads, PAST, sizes.headSize];
    this.past = Array.from({ length: withPast ? sizes.blocks : 0 }, (_, block) => [
      g.input(`past_key_values.${block}.key`, "F32", shape),
      g.input(`past_key_values.${block}.value`, "F32", shape),
    ]);
    const tokens = lengthOf(g, this.ids, 1);
    this.before = withPast ? lengthOf(g, (this.past[0] as readonly [Value, Value])[0], 2) : g.int(0);
    this.total = withPast ? add(g, this.before, tokens) : tokens;
    this.positions = this.attentionMask ? this.countedPositions(this.attentionMask) : this.range(this.before, [0]);
  }

  /**
   * Scaled dot-product attention of the tokens to all tokens up to their own.
   * @param q float32 (batch, heads · group, tokens, head_dim)
   * @param k float32 (batch, heads, tokens, head_dim)
   * @param v like k
   * @returns float32 (batch, tokens, heads · group · head_dim)
   */
  attend([q, k, v]: readonly [Value, Value, Value], { block, scale, window, group = 1 }: Attention): Value {
    const { g } = this;
    const { heads, headSize } = this.sizes;
    const [keys, values] = this.withPast(block, [k, v]);
    const scaled = mul(g, q, g.number(scale));
    // Heads that share keys have an axis of their own, along which the product repeats the keys.
    const apart = (x: Value) => (group === 1 ? x : unsqueeze(g, x, [2]));
    const queries = group === 1 ? scaled : reshape(g, scaled, [0, heads, group, -1, headSize]);
    const scores = matMul(g, queries, apart(transpose(g, keys, [0, 1, 3, 2])));
    const mask = apart(this.mask(window));
    const weights = g.op("Softmax", [add(g, scores, mask)], { axis: -1 });
    const y = matMul(g, weights, apart(values));
    const joined = group === 1 ? transpose(g, y, [0, 2, 1, 3]) : transpose(g, y, [0, 3, 1, 2, 4]);
    return reshape(g, joined, [0, 0, heads * group * headSize]);
  }

  /** Makes the keys and values of all tokens outputs of the graph, if those of earlier ones are inputs. */
  addOutputs(): void {
    const { heads, headSize } = this.sizes;
    const shape = [BATCH, heads, TOTAL, headSize];
    for (const [name, value] of this.present) this.g.output(name, value, { type: "F32", shape });
  }

  /** Keys and values of earlier tokens and of these. */
  private withPast(block: number, added: readonly [Value, Value]): readonly [Value, Value] {
    const past = this.past[block];
    if (!past) return added;
    const [k, v] = added.map((own, i) => concat(this.g, [past[i] as Value, own], 2)) as [Value, Value];
    this.present.set(`present.${block}.key`, k).set(`present.${block}.value`, v);
    return [k, v];
  }

  /** What is added to scores, float32 (1 or batch, 1, tokens, total). */
  private mask(window: number | undefined): Value {
    const known = this.masks.get(window);
    if (known !== undefined) return known;
    const { g } = this;
    const [rows, columns] = [this.range(this.before, [1]), this.range(g.int(0), [0])];
    const earlier = g.op("LessOrEqual", [columns, rows]);
    const near =
      window === undefined
        ? earlier
        : g.op("And", [earlier, g.op("Greater", [columns, g.op("Sub", [rows, g.int(window)])])]);
    const seen = unsqueeze(g, near, [0, 1]);
    const visible = this.attentionMask
      ? g.op("And", [seen, unsqueeze(g, g.op("Cast", [this.attentionMask], { to: TYPES.BOOL }), [1, 2])])
      : seen;
    const mask = g.op("Where", [visible, g.number(0), g.number(HIDDEN)]);
    this.masks.set(window, mask);
    return mask;
  }

  /** The whole numbers from `first` to before `total`, with further axes of length 1. */
  private range(first: Value, axes: readonly number[]): Value {
    return unsqueeze(this.g, this.g.op("Range", [first, this.total, this.g.int(1)]), axes);
  }

  /** The number of tokens before each token, without padding, (batch, tokens). */
  private countedPositions(mask: Value): Value {
    const { g } = this;
    const counted = g.op("Sub", [g.op("CumSum", [mask, g.int(1)]), g.int(1)]);
    const positions = g.op("Max", [counted, g.int(0)]);
    return g.op("Slice", [positions, unsqueeze(g, this.before, [0]), g.ints([END]), g.ints([1])]);
  }
}

/** Builds the graph of a language model. */
export function buildLanguage<Config>(
  model: ModelGraph<Config>,
  source: Model<Config>,
  { network, withPast }: { network: LanguageGraph<Config>; withPast: boolean },
): void {
  const { graph: g, config } = model;
  const task = languageTaskOf(source as Model);
  const tokens = new Tokens(g, network.keysAndValues(config), withPast);
  const hidden = network.hidden(model, tokens);
  const head = model.turned(model.nameOf(task.head(source as Model)));
  const { vocabulary } = task.sizes(config);
  const logits = g.within("lm_head", () => matMul(g, hidden, head));
  g.output("logits", logits, { type: "F32", shape: [BATCH, TOKENS, vocabulary] });
  tokens.addOutputs();
}
