// gblrWeight against a plain product in float64, with rows that are empty on one side, both or none, on every engine.

import { expect, test } from "bun:test";
import type * as tf from "@tensorflow/tfjs-core";
import { gblrWeight } from "../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, expectRefusal, type Operand, runOp, sample, toTensor } from "../engine/ops/operands.ts";

/** Σ_k a[k, r] b[k, c], or with `rows` Σ_j a[r, j] b[c, j]. */
function product(a: Operand, b: Operand, along: "columns" | "rows"): Float64Array {
  const [m, n] = along === "columns" ? [a.shape[1], b.shape[1]] : [a.shape[0], b.shape[0]];
  const inner = (along === "columns" ? a.shape[0] : a.shape[1]) as number;
  const at = ({ values, shape }: Operand, outer: number, i: number) =>
    (along === "columns" ? values[i * (shape[1] as number) + outer] : values[outer * inner + i]) as number;
  return Float64Array.from({ length: (m as number) * (n as number) }, (_, index) => {
    const [r, c] = [Math.floor(index / (n as number)), index % (n as number)];
    let sum = 0;
    for (let i = 0; i < inner; i++) {
      sum += at(a, r, i) * at(b, c, i);
    }
    return sum;
  });
}

const transposed = ({ values, shape }: Operand): Operand => {
  const [rows, columns] = shape as [number, number];
  return {
    values: Float64Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number),
    shape: [columns, rows],
  };
};

function emptied(of: Operand, rows: readonly number[]): Operand {
  const width = of.shape[1] as number;
  return { ...of, values: of.values.map((value, i) => (rows.includes(Math.floor(i / width)) ? 0 : value)) };
}

forEachEngine("gblrWeight", () => {
  for (const [what, noOutput, noInput] of [
    ["no row is empty", [], []],
    ["some rows are empty on one side", [0, 3], [4]],
    ["some rows are empty on both sides", [1, 2, 5], [1, 2, 5]],
    ["all rows are empty", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]],
    ["the rows left do not meet", [0, 1, 2], [3, 4, 5]],
  ] as const) {
    test(`gives value and gradients where ${what}`, async () => {
      const output = emptied(sample(1, [6, 9]), noOutput);
      const input = emptied(sample(2, [6, 5]), noInput);
      const run = await runOp({ output, input }, ({ output, input }) =>
        gblrWeight(output as tf.Tensor2D, input as tf.Tensor2D),
      );
      expect(run.shape).toEqual([9, 5]);
      expectClose(run.y, product(output, input, "columns"), { terms: [1] });
      const dy = { values: run.dy, shape: [9, 5] };
      expectClose(run.gradients.output as Float32Array, product(input, dy, "rows"), { terms: [1] });
      expectClose(run.gradients.input as Float32Array, product(output, transposed(dy), "rows"), { terms: [1] });
    });
  }

  test("names the factor that does not fit", () => {
    const [output, input] = [toTensor(sample(1, [4, 3])), toTensor(sample(2, [5, 3]))];
    expectRefusal(
      () => gblrWeight(output as tf.Tensor2D, input as tf.Tensor2D),
      "gblrWeight: input must be float32 (4, n_in), got float32 (5, 3)",
    );
  });
});
