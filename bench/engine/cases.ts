// The cases of the engine bench, as data, so that contestants in every language run the same sizes. worker.ts (our
// engines), openblas.ts and ../engine_torch.py compute them.

export type Case =
  /** (size, size) · (size, size) */
  | { kind: "product"; size: number }
  /** tanh(2·x + 1)·x − 3 on `size` values, with a call for each operation */
  | { kind: "elementwise"; size: number }
  /** (rows, width) normalized over its last axis, with scale and offset */
  | { kind: "layerNorm"; rows: number; width: number }
  /** (rows, width) divided by the root mean square of its last axis, with scale */
  | { kind: "rmsNorm"; rows: number; width: number }
  /** (rows, width) times the transpose of a weight (outputs, width) */
  | { kind: "linear"; rows: number; width: number; outputs: number }
  /** causal, (1, heads, tokens, width); backward gives the gradients of queries, keys and values */
  | { kind: "attention"; heads: number; tokens: number; width: number; backward: boolean }
  /** width → hidden → width with tanh-GELU on `rows` rows: forward, backward, AdamW; mean squared error */
  | { kind: "training"; rows: number; width: number; hidden: number }
  /** a chain of `operations` additions on `size` values; the time is that of one operation */
  | { kind: "tiny"; operations: number; size: number };

export interface NamedCase {
  title: string;
  case: Case;
  /** whether plain JavaScript runs it: the other cases would take minutes */
  small?: boolean;
}

const attention = { kind: "attention", heads: 12, tokens: 1024, width: 64 } as const;

export const TRAINING: Case = { kind: "training", rows: 1024, width: 768, hidden: 3072 };

export const CASES: readonly NamedCase[] = [
  { title: "matrix product 512³", case: { kind: "product", size: 512 } },
  { title: "matrix product 1024³", case: { kind: "product", size: 1024 } },
  { title: "matrix product 2048³", case: { kind: "product", size: 2048 } },
  { title: "tanh(2x + 1)·x − 3, 16 M values", case: { kind: "elementwise", size: 1 << 24 } },
  { title: "layer norm 8192 × 768", case: { kind: "layerNorm", rows: 8192, width: 768 } },
  { title: "RMS norm 8192 × 576", case: { kind: "rmsNorm", rows: 8192, width: 576 } },
  { title: "linear layer 576 → 49152, one row", case: { kind: "linear", rows: 1, width: 576, outputs: 49152 } },
  { title: "attention 12 × 1024 × 64", case: { ...attention, backward: false } },
  { title: "attention, with gradients", case: { ...attention, backward: true } },
  { title: "MLP training step", case: TRAINING },
  { title: "one operation on 4 values", case: { kind: "tiny", operations: 1000, size: 4 }, small: true },
];

/** Operations in one timed call, by which its time is divided. */
export function operationsPerCall(of: Case): number {
  return of.kind === "tiny" ? of.operations : 1;
}
