// What the fused ops should give, in float64: plain loops that share no code with the ops. Gradients are written out
// by hand; float64.test.ts holds them against finite differences of the values. Slow and small.

import { Grid, type Values } from "./grid.ts";

type Form = "none" | "tanh";

/** erf(x) = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!, all terms of one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) {
    return Math.sign(x);
  }
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const tanhPart = (x: number): number => Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));

export function geluAt(x: number, form: Form): number {
  return form === "none" ? 0.5 * x * (1 + erf(x / Math.SQRT2)) : 0.5 * x * (1 + tanhPart(x));
}

export function geluSlopeAt(x: number, form: Form): number {
  if (form === "none") {
    return 0.5 * (1 + erf(x / Math.SQRT2)) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
  }
  const t = tanhPart(x);
  const inner = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner;
}

export interface Linear {
  x: Values;
  weight: Values;
  bias?: Values | undefined;
  rows: number;
  nIn: number;
  nOut: number;
  layout: "out_in" | "in_out";
  activation: "none" | "gelu" | "gelu_tanh";
}

function linearGrids({ x, weight, bias, rows, nIn, nOut, layout }: Linear) {
  const w = layout === "out_in" ? new Grid(nOut, nIn, weight) : new Grid(nIn, nOut, weight).transposed();
  return { x: new Grid(rows, nIn, x), w, bias: new Grid(1, nOut, bias) };
}

function preactivation(options: Linear): Grid {
  const { x, w, bias } = linearGrids(options);
  return Grid.from(options.rows, options.nOut, (r, o) => {
    let sum = bias.at(0, o);
    for (let i = 0; i < options.nIn; i++) {
      sum += x.at(r, i) * w.at(o, i);
    }
    return sum;
  });
}

const formOf = (activation: "gelu" | "gelu_tanh"): Form => (activation === "gelu" ? "none" : "tanh");

export function linear(options: Linear): Values {
  const { activation } = options;
  const z = preactivation(options).values;
  return activation === "none" ? z : z.map((value) => geluAt(value, formOf(activation)));
}

export function linearGradients(options: Linear, dy: Values): { x: Values; weight: Values; bias: Values } {
  const { rows, nIn, nOut, activation } = options;
  const { x, w } = linearGrids(options);
  const dz = preactivation(options);
  dz.values.forEach((z, i) => {
    dz.values[i] = (dy[i] as number) * (activation === "none" ? 1 : geluSlopeAt(z, formOf(activation)));
  });
  const [dx, dw, db] = [new Grid(rows, nIn), new Grid(nOut, nIn), new Grid(1, nOut)];
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < nOut; o++) {
      db.add(0, o, dz.at(r, o));
      for (let i = 0; i < nIn; i++) {
        dx.add(r, i, dz.at(r, o) * w.at(o, i));
        dw.add(o, i, dz.at(r, o) * x.at(r, i));
      }
    }
  }
  return { x: dx.values, weight: (options.layout === "out_in" ? dw : dw.transposed()).values, bias: db.values };
}

export interface LayerNorm {
  x: Values;
  gain: Values;
  bias: Values;
  epsilon: number;
}

/** Rows less their mean, over their deviation, and the deviations. */
function normalize({ x, gain, epsilon }: LayerNorm): { normal: Grid; deviations: number[] } {
  const width = gain.length;
  const rows = new Grid(x.length / width, width, x);
  const means = rows.eachRow((row) => row.reduce((sum, value) => sum + value / width, 0));
  const deviations = rows.eachRow((row, r) =>
    Math.sqrt(row.reduce((sum, value) => sum + (value - (means[r] as number)) ** 2 / width, 0) + epsilon),
  );
  const normal = Grid.from(
    rows.rows,
    width,
    (r, j) => (rows.at(r, j) - (means[r] as number)) / (deviations[r] as number),
  );
  return { normal, deviations };
}

export function layerNorm(options: LayerNorm): Values {
  const { normal } = normalize(options);
  const [gain, bias] = [new Grid(1, normal.columns, options.gain), new Grid(1, normal.columns, options.bias)];
  return Grid.from(normal.rows, normal.columns, (r, j) => normal.at(r, j) * gain.at(0, j) + bias.at(0, j)).values;
}

export function layerNormGradients(options: LayerNorm, dy: Values): { x: Values; gain: Values; bias: Values } {
  const { normal, deviations } = normalize(options);
  const { rows, columns: width } = normal;
  const [gain, outer] = [new Grid(1, width, options.gain), new Grid(rows, width, dy)];
  const [dx, dgain, dbias] = [new Grid(rows, width), new Grid(1, width), new Grid(1, width)];
  // ∂y_j/∂x_i = gain_j (δ_ij - 1/width - x̂_i x̂_j / width) / deviation
  normal.forEach((r, j, value) => {
    dgain.add(0, j, outer.at(r, j) * value);
    dbias.add(0, j, outer.at(r, j));
    for (let i = 0; i < width; i++) {
      const slope = ((i === j ? 1 : 0) - 1 / width - (normal.at(r, i) * value) / width) / (deviations[r] as number);
      dx.add(r, i, outer.at(r, j) * gain.at(0, j) * slope);
    }
  });
  return { x: dx.values, gain: dgain.values, bias: dbias.values };
}

export interface Attention {
  q: Values;
  k: Values;
  v: Values;
  /** batch times heads */
  heads: number;
  tokens: number;
  keyTokens: number;
  headDim: number;
  valueDim: number;
  causal: boolean;
  scale: number;
  /** keys up to its own position that a query attends to; default all */
  window?: number;
}

/** Rows are (head, token). */
function attentionGrids({ q, k, v, heads, tokens, keyTokens, headDim, valueDim }: Attention) {
  const keys = heads * keyTokens;
  return { q: new Grid(heads * tokens, headDim, q), k: new Grid(keys, headDim, k), v: new Grid(keys, valueDim, v) };
}

/** (head, token) by key token */
function probabilities(options: Attention): Grid {
  const { heads, tokens, keyTokens, headDim, causal, scale, window = Number.POSITIVE_INFINITY } = options;
  const { q, k } = attentionGrids(options);
  const scores = Grid.from(heads * tokens, keyTokens, (row, j) => {
    const [head, i] = [Math.floor(row / tokens), row % tokens];
    const position = i + keyTokens - tokens;
    if (causal && (j > position || j <= position - window)) {
      return Number.NEGATIVE_INFINITY;
    }
    let score = 0;
    for (let d = 0; d < headDim; d++) {
      score += q.at(row, d) * k.at(head * keyTokens + j, d);
    }
    return score * scale;
  });
  const logs = scores.eachRow(logSoftmax);
  return Grid.from(scores.rows, keyTokens, (row, j) => Math.exp(logs[row]?.[j] as number));
}

export function attention(options: Attention): Values {
  const { heads, tokens, keyTokens, valueDim } = options;
  const { v } = attentionGrids(options);
  const y = new Grid(heads * tokens, valueDim);
  probabilities(options).forEach((row, j, p) => {
    for (let d = 0; d < valueDim; d++) {
      y.add(row, d, p * v.at(Math.floor(row / tokens) * keyTokens + j, d));
    }
  });
  return y.values;
}

export function attentionGradients(options: Attention, dy: Values): { q: Values; k: Values; v: Values } {
  const { heads, tokens, keyTokens, headDim, valueDim, scale } = options;
  const { q, k, v } = attentionGrids(options);
  const p = probabilities(options);
  const outer = new Grid(heads * tokens, valueDim, dy);
  const [dq, dk, dv] = [new Grid(q.rows, headDim), new Grid(k.rows, headDim), new Grid(v.rows, valueDim)];
  const dp = new Grid(p.rows, p.columns);
  p.forEach((row, j, weight) => {
    const key = Math.floor(row / tokens) * keyTokens + j;
    for (let d = 0; d < valueDim; d++) {
      dp.add(row, j, outer.at(row, d) * v.at(key, d));
      dv.add(key, d, outer.at(row, d) * weight);
    }
  });
  const means = dp.eachRow((values, row) => values.reduce((sum, value, j) => sum + value * p.at(row, j), 0));
  p.forEach((row, j, weight) => {
    const key = Math.floor(row / tokens) * keyTokens + j;
    const dscore = weight * (dp.at(row, j) - (means[row] as number)) * scale;
    for (let d = 0; d < headDim; d++) {
      dq.add(row, d, dscore * k.at(key, d));
      dk.add(key, d, dscore * q.at(row, d));
    }
  });
  return { q: dq.values, k: dk.values, v: dv.values };
}

export interface CrossEntropy {
  logits: Values;
  targets: Int32Array;
  ignoreIndex: number;
  labelSmoothing: number;
}

/** What the target distribution gives class `c`. */
const wanted = (c: number, target: number, classes: number, smoothing: number): number =>
  (c === target ? 1 - smoothing : 0) + smoothing / classes;

function logSoftmax(row: Values): Values {
  const largest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const logSum = largest + Math.log(row.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  return row.map((value) => value - logSum);
}

export function crossEntropy({ logits, targets, ignoreIndex, labelSmoothing }: CrossEntropy): Values {
  const rows = new Grid(targets.length, logits.length / (targets.length || 1), logits);
  const losses = rows.eachRow((row, r) => {
    const target = targets[r] as number;
    const term = (log: number, c: number) => log * wanted(c, target, rows.columns, labelSmoothing);
    return target === ignoreIndex ? 0 : -logSoftmax(row).reduce((sum, log, c) => sum + term(log, c), 0);
  });
  return Float64Array.from(losses);
}

export function crossEntropyGradient(options: CrossEntropy, dy: Values): Values {
  const { logits, targets, ignoreIndex, labelSmoothing } = options;
  const classes = logits.length / (targets.length || 1);
  const logs = new Grid(targets.length, classes, logits).eachRow(logSoftmax);
  return Grid.from(targets.length, classes, (r, c) => {
    const target = targets[r] as number;
    const excess = Math.exp(logs[r]?.[c] as number) - wanted(c, target, classes, labelSmoothing);
    return target === ignoreIndex ? 0 : (dy[r] as number) * excess;
  }).values;
}

export function embedding(table: Values, ids: Int32Array, width: number): Values {
  const rows = new Grid(table.length / width, width, table);
  return Grid.from(ids.length, width, (i, j) => rows.at(ids[i] as number, j)).values;
}

export function embeddingGradient(dy: Values, ids: Int32Array, { rows, width }: { rows: number; width: number }) {
  const gradient = new Grid(rows, width);
  new Grid(ids.length, width, dy).forEach((i, j, value) => {
    gradient.add(ids[i] as number, j, value);
  });
  return gradient.values;
}
