// The published baselines against their authors' formulas, computed by NumPy or PyTorch in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type BlastStacks, fitBlast } from "../../workbench/structures/fit/blast-fit.ts";
import { layerErrors } from "../../workbench/structures/layer-errors.ts";
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

def wanda(w, kept):  # scores |W| times the norm of the input, compared within a row
    scores = np.abs(w) * np.sqrt((x ** 2).sum(0))
    mask = np.zeros_like(w)
    np.put_along_axis(mask, np.argsort(-scores, axis=1)[:, :kept], 1, axis=1)
    return w * mask

def two_of_four(scores):
    result = np.zeros_like(w)
    for at in range(0, w.shape[1], 4):
        group = np.argsort(-scores[:, at : at + 4], axis=1)[:, :2] + at
        np.put_along_axis(result, group, np.take_along_axis(w, group, 1), axis=1)
    return result

def unstructured_wanda():
    return wanda(w, asked["kept"])

def unstructured_magnitude():  # over the whole matrix
    threshold = np.sort(np.abs(w).ravel())[-asked["kept"] * len(w)]
    return w * (np.abs(w) >= threshold)

def semi_structured_wanda():
    return two_of_four(np.abs(w) * np.sqrt((x ** 2).sum(0)))

def semi_structured_magnitude():
    return two_of_four(np.abs(w))

print(json.dumps({name: globals()[name]().ravel().tolist() for name in asked["names"]}))
`;

const numpy = pythonWith("numpy");

/** The authors' preconditioned gradient descent with gradients by autograd, and their layer's product. */
const BLAST = `
import json, sys
import torch
torch.set_default_dtype(torch.float64)
asked = json.load(sys.stdin)
A = torch.tensor(asked["matrix"])
B, C, D = (torch.tensor(asked[key], requires_grad=True) for key in ("B", "C", "D"))  # (b1, p, r), (b2, r, q), (r, b1, b2)

def matrix():
    return torch.einsum("ipr,rij,jrq->ipjq", B, D, C).reshape(A.shape)

def preconditioner(which):
    if which == 0:
        bar = torch.einsum("rij,jrq->irjq", D, C).flatten(2)
        return bar @ bar.mT
    if which == 1:
        bar = torch.einsum("rij,ipr->jipr", D, B).flatten(1, 2)
        return bar.mT @ bar
    return (B.mT @ B)[:, None] * (C @ C.mT)[None]

T = asked["iterations"]
for t in range(T):
    rate = 1 - t / T
    for which, tensor in enumerate((B, C, D)):
        loss = torch.norm(A - matrix()) ** 2
        grad, = torch.autograd.grad(loss, tensor)
        with torch.no_grad():
            cov = preconditioner(which) + asked["delta"] * loss.sqrt() * torch.eye(B.shape[2])
            if which == 0:
                grad = torch.linalg.solve(cov, grad, left=False)
            elif which == 1:
                grad = torch.linalg.solve(cov, grad)
            else:
                grad = torch.linalg.solve(cov, grad.permute(1, 2, 0)[..., None])[..., 0].permute(2, 0, 1)
            tensor -= rate * grad
print(json.dumps(matrix().ravel().tolist()))
`;

const torch = pythonWith("torch");

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

  test("name the calibration data that is missing", async () => {
    const budget = 0.5;
    await expect(startOf("lowrank", "asvd", { budget })).rejects.toThrow(
      "init asvd: fc has no covariance of its inputs; calibrate it first",
    );
    await expect(startOf("lowrank", "fwsvd", { budget })).rejects.toThrow(
      "init fwsvd: fc has no importances of its inputs; accumulate squared gradients on calibration data first",
    );
  });
});

forEachEngine("BLAST", () => {
  const [rows, columns, height, width, rank] = [3, 2, 8, 9, 4] as const;

  test.skipIf(!torch)(
    "is factorized as the authors' preconditioned gradient descent does it",
    async () => {
      const start = {
        out: sample(31, [rows, height, rank], 0.1),
        in: sample(32, [columns, width, rank], 0.1),
        scales: sample(33, [rows, columns, rank]),
      };
      const matrix = sample(34, [rows * height, columns * width]);
      const of = ({ values, shape }: { values: ArrayLike<number>; shape: number[] }, order: number[]) =>
        tf.tidy(() => tf.transpose(toTensor({ values: Float64Array.from(values), shape }), order).arraySync());
      const asked = {
        ...{ matrix: of(matrix, [0, 1]), iterations: 8, delta: 0.1 },
        ...{ B: of(start.out, [0, 1, 2]), C: of(start.in, [0, 2, 1]), D: of(start.scales, [2, 0, 1]) },
      };
      const truth = await askPython<number[]>(torch, BLAST, { input: JSON.stringify(asked) });
      const grid = tf.tidy(() =>
        tf.transpose(tf.reshape(toTensor(matrix), [rows, height, columns, width]), [0, 2, 1, 3]),
      ) as tf.Tensor4D;
      const stacks = {
        out: toTensor(start.out),
        in: toTensor(start.in),
        scales: toTensor(start.scales),
      } as BlastStacks;
      const { out, in: inwards, scales } = await fitBlast(grid, stacks, { iterations: 8, delta: 0.1 });
      const parameters = {
        basis_out: tf.reshape(out, [rows * height, rank]),
        basis_in: tf.reshape(inwards, [columns * width, rank]),
        couplings: scales,
      };
      expectClose(await read(matrixStructure("blast").dense(parameters)), truth, { tolerance: 1e-4 });
    },
    PATIENCE,
  );

  test("is nearer to a BLAST matrix than low rank of the same rank, and the same for the same seed", async () => {
    const structure = matrixStructure("blast");
    const made = {
      basis_out: toTensor(sample(35, [36, 3])),
      basis_in: toTensor(sample(36, [30, 3])),
      couplings: toTensor(sample(37, [6, 6, 3])),
    };
    const target = structure.dense(made);
    const budget = (3 * (36 + 30 + 36)) / (36 * 30);
    const errorOf = async (options: object) => {
      const parameters = await structure.fromDense(target, budget, options);
      expect(await structure.cost(parameters)).toBe(3 * (36 + 30 + 36));
      return (await layerErrors(target, structure.dense(parameters))).error;
    };
    const low = await errorOf({ iterations: 0 });
    const found = await errorOf({ seed: 1 });
    expect(found).toBeLessThan(0.5 * low);
    expect(await errorOf({ seed: 1 })).toBe(found);
  });

  test("keeps its matrix when its parameters are balanced", async () => {
    const structure = matrixStructure("blast");
    const parameters = {
      basis_out: toTensor(sample(38, [14, 3], 20)),
      basis_in: toTensor(sample(39, [11, 3], 0.01)),
      couplings: toTensor(sample(40, [2, 3, 3])),
    };
    const balanced = structure.balanced?.(parameters) as StructureParameters;
    expectClose(await read(structure.dense(balanced)), await read(structure.dense(parameters)));
    const spread = (held: StructureParameters) =>
      tf.tidy(() => tf.div(tf.norm(held.basis_out as tf.Tensor), tf.norm(held.basis_in as tf.Tensor)).dataSync()[0]);
    expect(spread(balanced)).toBeCloseTo(1, 5);
    expect(spread(parameters)).toBeGreaterThan(100);
  });
});

forEachEngine("pruning", () => {
  const kept = 7;
  const budget = kept / nIn;

  test.skipIf(!numpy)(
    "keeps the entries that magnitude and Wanda keep, unstructured and 2:4",
    async () => {
      const names = ["unstructured", "semi_structured"].flatMap((each) => [`${each}_magnitude`, `${each}_wanda`]);
      const asked = { weight: Array.from(weight.values), shape: [nOut, nIn], x, rank: 1, importance, kept, names };
      const truth = await askPython<Record<string, number[]>>(numpy, SCRIPT, { input: JSON.stringify(asked) });
      // Of 18 columns, the last group has 2.
      const half = (nOut * 10) / (nOut * nIn);
      for (const [name, published, share] of [
        ["unstructured", "unstructured", budget],
        ["semi-structured", "semi_structured", half],
      ] as const) {
        const structure = matrixStructure(name);
        const magnitude = await structure.fromDense(toTensor(weight) as tf.Tensor2D, share);
        const wanda = await startOf(name, "wanda", { budget: share, covariance: covariance() });
        for (const [how, parameters] of [
          ["magnitude", magnitude],
          ["wanda", wanda],
        ] as const) {
          const entries = await read(structure.dense(parameters));
          expectClose(entries, truth[`${published}_${how}`] as number[], { tolerance: 1e-7 });
          expect(await structure.cost(parameters)).toBe(Math.round(share * nOut * nIn));
          expect(entries.filter((entry) => entry !== 0).length).toBe(Math.round(share * nOut * nIn));
        }
      }
    },
    PATIENCE,
  );

  test.each(["unstructured", "semi-structured"])(
    "of %s keeps zeros, whose gradient is 0, and refits the rest",
    async (name) => {
      const structure = matrixStructure(name);
      const parameters = await structure.fromDense(toTensor(weight) as tf.Tensor2D, 0.6);
      const entries = parameters.entries as tf.Tensor2D;
      const rows = toTensor(sample(43, [5, nIn]));
      const gradient = await read(tf.grad((w) => structure.apply({ entries: w }, rows))(entries));
      expect(gradient.map((value) => Number(value !== 0))).toEqual(
        (await read(entries)).map((entry) => Number(entry !== 0)),
      );
      const wanda = await startOf(name, "wanda", { budget: 0.6, covariance: covariance() });
      const refitted = await startOf(name, "activation", {
        budget: 0.6,
        covariance: covariance(),
        refitEvaluations: 60,
      });
      const lost = async (held: StructureParameters) =>
        (await layerErrors(toTensor(weight) as tf.Tensor2D, structure.dense(held), covariance())).outputError as number;
      expect(await lost(refitted)).toBeLessThan(0.95 * (await lost(wanda)));
      expect(await structure.cost(refitted)).toBeLessThanOrEqual(0.6 * nOut * nIn);
    },
  );

  test("of 2:4 needs half of the multiply-adds", async () => {
    await expect(matrixStructure("semi-structured").fromDense(toTensor(weight) as tf.Tensor2D, 0.5)).rejects.toThrow(
      "semi-structured: 2 of 4 entries of (24, 18) takes 0.555556 of the dense multiply-adds, the budget is 0.5",
    );
  });
});
