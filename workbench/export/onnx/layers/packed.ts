// Packed GBLR layers by standard operators. The file holds the values of docs/format.md and indices of as many bytes as
// the spans. At load, runtimes compute what depends on no input: they scatter the values into small matrices of zeros.

import type { TensorSource } from "../../../../hub/safetensors/index.ts";
import type { MatrixSize } from "../../../structures/budget.ts";
import type { Graph, Value } from "../graph.ts";
import { concat, matMul, reshape, split, transpose } from "../operators.ts";
import { type PackedPlan, planOf, wholePlan } from "./packed-plan.ts";
import { type BlockSpans, inputRuns, outputRuns, type Run } from "./packed-runs.ts";

/** A packed layer whose spans are read. */
export interface PackedLayer extends MatrixSize {
  name: string;
  spans: readonly BlockSpans[];
  valuesIn: TensorSource;
  valuesOut: TensorSource;
}

/** The columns of a tensor of spans, (4, B). */
export function spansOf(values: ArrayLike<number>): BlockSpans[] {
  const blocks = values.length / 4;
  const at = (row: number, block: number) => values[row * blocks + block] as number;
  return Array.from({ length: blocks }, (_, block) => ({
    input: { start: at(0, block), length: at(1, block) },
    output: { start: at(2, block), length: at(3, block) },
  }));
}

/**
 * The matrices of which Wᵀ (n_in, n_out) is the product: two factors, or the whole matrix if it has fewer entries.
 */
export function packedFactors(g: Graph, layer: PackedLayer): Value[] {
  const { spans, nIn, nOut } = layer;
  if (spans.length === 0) return [zeros(g, [nIn, 1]), zeros(g, [1, nOut])];
  const plan = wholePlan(spans, layer);
  const [down] = inputMatrices(g, layer, plan) as [Value];
  const [up] = outputMatrices(g, layer, plan) as [Value];
  return spans.length * (nIn + nOut) < nIn * nOut ? [down, up] : [matMul(g, down, up)];
}

/** The product x Wᵀ. @param x float32 (batch, rows, n_in) */
export function packedLinear(g: Graph, layer: PackedLayer, x: Value): Value {
  const { spans, nIn, nOut } = layer;
  const plan = planOf(spans, layer);
  if (spans.length === 0 || plan.cost >= nIn * nOut) {
    return packedFactors(g, layer).reduce((product, factor) => matMul(g, product, factor), x);
  }
  const down = inputMatrices(g, layer, plan).map((matrix, i) => {
    const { start, end } = plan.groups[i] as { start: number; end: number };
    const isAll = start === 0 && end === nIn;
    const input = isAll ? x : g.op("Slice", [x, g.ints([start]), g.ints([end]), g.ints([-1])]);
    return matMul(g, input, matrix);
  });
  const inner = down.length === 1 ? (down[0] as Value) : concat(g, down, -1);
  const up = outputMatrices(g, layer, plan).map((matrix, i) => {
    const { members } = plan.intervals[i] as { members: readonly number[] };
    return matMul(g, plan.intervals.length === 1 ? inner : membersOf(g, inner, { layer, i, members }), matrix);
  });
  return up.length === 1 ? (up[0] as Value) : concat(g, up, -1);
}

interface Members {
  layer: PackedLayer;
  i: number;
  members: readonly number[];
}

function membersOf(g: Graph, inner: Value, { layer, i, members }: Members): Value {
  const indices = g.weights(integers(`${layer.name}.members_${i}`, members));
  return g.op("Gather", [inner, indices], { axis: -1 });
}

/** For each group of the plan, Vᵀ (inputs, blocks). */
function inputMatrices(g: Graph, { name, spans, valuesIn, nIn }: PackedLayer, plan: PackedPlan): Value[] {
  const shapes = plan.groups.map(({ start, end, blocks }) => [blocks.length, end - start] as const);
  const runs = inputRuns(spans, plan, nIn);
  return scattered(g, { name: `${name}.in`, values: valuesIn, runs, shapes }).map((rows) => transpose(g, rows, [1, 0]));
}

/** For each interval of the plan, U (members, outputs). */
function outputMatrices(g: Graph, { name, spans, valuesOut, nOut }: PackedLayer, plan: PackedPlan): Value[] {
  const shapes = plan.intervals.map(({ start, end, members }) => [members.length, end - start] as const);
  return scattered(g, { name: `${name}.out`, values: valuesOut, runs: outputRuns(spans, plan, nOut), shapes });
}

interface Scattered {
  name: string;
  values: TensorSource;
  runs: readonly Run[];
  /** of the matrices in the buffer */
  shapes: readonly (readonly [rows: number, columns: number])[];
}

/**
 * Matrices of zeros with values at some entries. The place of each value is one behind that of the value before it,
 * except at the first value of a run: places are the running sum of steps, all of which are 1 but those to runs.
 */
function scattered(g: Graph, { name, values, runs, shapes }: Scattered): Value[] {
  const total = runs.reduce((sum, { length }) => sum + length, 0);
  const firsts: number[] = [];
  const steps: number[] = [];
  let [first, last] = [0, 0];
  for (const { to, length } of runs) {
    firsts.push(first);
    steps.push(to - last);
    [first, last] = [first + length, to + length - 1];
  }
  const one = { name: "", dtype: "I32", shape: [1], data: Int32Array.of(1) } as const;
  const ones = g.op("ConstantOfShape", [g.ints([total])], { value: { tensor: one } });
  const ofRuns = [g.weights(integers(`${name}_firsts`, firsts)), g.weights(integers(`${name}_steps`, steps))];
  const places = g.op("CumSum", [g.op("ScatterElements", [ones, ...ofRuns], { axis: 0 }), g.int(0)]);
  const sizes = shapes.map(([rows, columns]) => rows * columns);
  const empty = zeros(g, [sizes.reduce((sum, size) => sum + size, 0)]);
  const buffer = g.op("ScatterElements", [empty, places, g.weights(values)], { axis: 0 });
  const parts = sizes.length === 1 ? [buffer] : split(g, buffer, { axis: 0, lengths: sizes });
  return parts.map((part, i) => reshape(g, part, shapes[i] as readonly [number, number]));
}

const integers = (name: string, values: readonly number[]): TensorSource => ({
  name,
  dtype: "I32",
  shape: [values.length],
  data: Int32Array.from(values),
});

/** Zeros, float32. */
const zeros = (g: Graph, shape: readonly number[]): Value => g.op("ConstantOfShape", [g.ints(shape)]);
