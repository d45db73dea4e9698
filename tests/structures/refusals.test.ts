// What structures refuse: names, budgets, options and operands, each in one line that says what to do.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../../workbench/engine/core/errors.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { matrixStructure, STRUCTURES } from "./matrix-structures.ts";

await openEngine({ engine: "cpu" });

async function refusal(attempt: () => unknown): Promise<Error> {
  try {
    await attempt();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was refused");
}

const weight = () => tf.ones([20, 12]) as tf.Tensor2D;
const make = (name: string, budget: number, options?: object) =>
  refusal(() => matrixStructure(name).fromDense(weight(), budget, options));

describe("structures", () => {
  test("are found by their own names, and another name is answered with them", async () => {
    for (const structure of STRUCTURES) {
      expect(matrixStructure(structure.name).name).toBe(structure.name);
    }
    const error = await refusal(() => matrixStructure("lowrnk"));
    expect(error).toBeInstanceOf(EngineError);
    expect(error.message).toBe(
      'there is no structure "lowrnk"; available: gblr, lowrank, pifa, btt, monarch, block-low-rank, blast, block-sparse, ' +
        "unstructured, semi-structured, tucker, dense; " +
        "use one of these",
    );
  });

  test.each([
    ["dense", 0.99, {}, "dense: all of (20, 12) takes 1 of the dense multiply-adds, the budget is 0.99"],
    ["lowrank", 0.1, {}, "lowrank: rank 1 of (20, 12) takes 0.133333 of the dense multiply-adds, the budget is 0.1"],
    [
      "gblr",
      0.1,
      {},
      "gblr: one block of full width of (20, 12) takes 0.133333 of the dense multiply-adds, the budget is 0.1",
    ],
    [
      "gblr",
      0.2,
      { widths: "const1" },
      'gblr: widths "const1" of (20, 12) takes 1.6 of the dense multiply-adds, the budget is 0.2',
    ],
    [
      "monarch",
      0.3,
      { blocks: 4 },
      "monarch: rank 1 in 4 × 4 blocks of (20, 12) takes 0.533333 of the dense multiply-adds, the budget is 0.3",
    ],
    [
      "block-sparse",
      0.2,
      { side: 4 },
      "block-sparse: 1 of 4 blocks a row of (20, 12) takes 0.25 of the dense multiply-adds, the budget is 0.2",
    ],
  ])("%s at budget %d with options %j says what it would take", async (name, budget, options, message) => {
    const error = await make(name, budget, options);
    expect(error).toBeInstanceOf(EngineError);
    expect(error.message).toBe(`${message}; raise the budget or request less`);
  });

  test.each([
    ["monarch", { blocks: 13 }, "monarch: blocks must be an integer from 1 to 12, got 13"],
    ["monarch", { blocks: 4, rank: 4 }, "monarch: rank must be an integer from 1 to 3, got 4"],
    ["block-sparse", { side: 6 }, "block-sparse: side must be a power of two from 1 to 12, got 6"],
    ["block-sparse", { lowRankShare: 2 }, "block-sparse: lowRankShare must be from 0 to 1, got 2"],
    ["block-sparse", { rounds: -1 }, "block-sparse: rounds must be a whole number from 0, got -1"],
  ])("%s with options %j names the one that makes no sense", async (name, options, message) => {
    const error = await make(name, 2, options);
    expect(error).toBeInstanceOf(ShapeError);
    expect(error.message).toBe(message);
  });

  test.each(STRUCTURES.map(({ name }) => name))("%s wants a budget above 0 and a matrix", async (name) => {
    for (const budget of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect((await make(name, budget)).message).toEndWith(
        `budget must be a share of the dense multiply-adds above 0, got ${budget}`,
      );
    }
    const vector = tf.ones([5]) as unknown as tf.Tensor2D;
    expect((await refusal(() => matrixStructure(name).fromDense(vector, 1))).message).toBe(
      `${name}: weight must be float32 (n_out, n_in), got float32 (5)`,
    );
  });

  test.each(STRUCTURES.map(({ name }) => name))("%s wants its parameters and rows of its width", async (name) => {
    const structure = matrixStructure(name);
    const parameters = await structure.fromDense(weight(), 2);
    const error = await refusal(() => structure.apply(parameters, tf.ones([3, 15])));
    expect(error).toBeInstanceOf(ShapeError);
    const [missing] = structure.parameterNames as [string];
    const { [missing]: _, ...rest } = parameters;
    const absent = await refusal(() => structure.cost(rest));
    expect(absent).toBeInstanceOf(ShapeError);
    expect(absent.message).toContain(`${missing} is missing`);
  });
});
