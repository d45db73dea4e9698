// The published baselines against their authors' formulas, computed by NumPy in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import type {
  Init,
  SearchProgress,
  StartedLayer,
  StartOptions,
  StructureParameters,
} from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read, sample, toTensor } from "../engine/ops/operands.ts";
import { askPython, PATIENCE, pythonWith } from "../python/python.ts";
import { matrixStructure } from "./matrix-structures.ts";

const [nOut, nIn] = [24, 18];
const SAMPLES = 90;
const weight = sample(21, [nOut, nIn]);
const inputs = sample(22, [SAMPLES, nIn]);
/** Inputs of scales from 0.1 to 10 that are correlated. */
const x = Array.from({ length: SAMPLES }, (_, row) =>
  Array.from(
    { length: nIn },
    (_, i) =>
      10 ** (2 * (i / (nIn - 1)) - 1) *
      ((inputs.values[row * nIn + i] as number) + (inputs.values[row * nIn] as number)),
  ),
);
const importance = Array.from(sample(23, [nIn]).values, (value) => value ** 2);

const SCRIPT = `
import json, sys
import numpy as np
asked = json.load(sys.stdin)
w, x = np.array(asked["weight"]).reshape(asked["shape"]), np.array(asked["x"])
rank, importance = asked["rank"], np.array(asked["importance"])

def truncated(m):
    u, s, vt = np.linalg.svd(m, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]

def asvd():  # the magnitudes of inputs to the power 0.5, with the root mean square as the magnitude
    scale = np.sqrt((x ** 2).mean(0)) ** 0.5
    return truncated(w * scale) / scale

def fwsvd():  # inputs are rows of the authors' (n_in, n_out) matrix: I^-1 svd(I W)
    i = np.diag(np.sqrt(importance))
    return (np.linalg.inv(i) @ truncated(i @ w.T)).T

def svd_llm():  # truncation-aware whitening by a Cholesky factor of X X^T
    s = np.linalg.cholesky(x.T @ x)
    return truncated(w @ s) @ np.linalg.inv(s)

print(json.dumps({name: globals()[name]().ravel().tolist() for name in asked["names"]}))
`;

const numpy = pythonWith("numpy");

const startOf = async (
  name: string,
  init: Init,
  options: Partial<StartOptions> & { budget: number },
): Promise<StructureParameters> => {
  const structure = matrixStructure(name);
  const { budget, ...others } = options;
  const cost = structure.costWithin({ nOut, nIn }, budget);
  const layer = { name: "fc", nOut, nIn, allowed: Math.floor(budget * nOut * nIn), cost };
  const start = structure.starts?.[init];
  if (!start) throw new Error(`${name} has no init ${init}`);
  const steps: AsyncGenerator<SearchProgress, StartedLayer> = start(toTensor(weight) as tf.Tensor2D, {
    structure,
    layer,
    searchSteps: 0,
    ...others,
  });
  for (let next = await steps.next(); ; next = await steps.next()) if (next.done) return next.value.parameters;
};

const covariance = () =>
  tf.tidy(() => {
    const rows = tf.tensor2d(x);
    return tf.div<tf.Tensor2D>(tf.matMul(rows, rows, true), SAMPLES);
  });

forEachEngine("the published low-rank baselines", () => {
  test.skipIf(!numpy)(
    "are what their formulas give",
    async () => {
      const rank = 5;
      const asked = {
        weight: Array.from(weight.values),
        shape: [nOut, nIn],
        x,
        rank,
        importance,
        names: ["asvd", "fwsvd", "svd_llm"],
      };
      const truth = await askPython<Record<string, number[]>>(numpy, SCRIPT, { input: JSON.stringify(asked) });
      const budget = (rank * (nOut + nIn)) / (nOut * nIn);
      const structure = matrixStructure("lowrank");
      for (const [init, published] of [
        ["asvd", "asvd"],
        ["fwsvd", "fwsvd"],
        ["activation", "svd_llm"],
      ] as const) {
        const parameters = await startOf("lowrank", init, {
          budget,
          covariance: covariance(),
          importance: tf.tensor1d(importance),
        });
        expect(await structure.cost(parameters)).toBe(rank * (nOut + nIn));
        // The closed form of low rank damps Σ by 1e-6 of its largest eigenvalue, the authors do not.
        expectClose(await read(structure.dense(parameters)), truth[published] as number[], {
          tolerance: init === "activation" ? 1e-3 : 2e-5,
        });
      }
    },
    PATIENCE,
  );

  test("say what they lack", async () => {
    const budget = 0.5;
    await expect(startOf("lowrank", "asvd", { budget })).rejects.toThrow(
      "init asvd: fc has no covariance of its inputs; calibrate it first",
    );
    await expect(startOf("lowrank", "fwsvd", { budget })).rejects.toThrow(
      "init fwsvd: fc has no importances of its inputs; accumulate squared gradients on calibration data first",
    );
  });
});
