// Reordering a model: its function stays, units that belong together are found again, energies and affinities are those
// of the formulas in float64, and the search is never worse by its score.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { Matrix, SingularValueDecomposition } from "ml-matrix";
import { languageHidden } from "../../../workbench/architectures/parts/language-model.ts";
import { symmetriesOf } from "../../../workbench/architectures/symmetry.ts";
import {
  calibrate,
  type InputPowers,
  inputPowers,
  ORDERS,
  orderNamed,
  type ReorderedUnits,
  type ReorderOptions,
  reorderModel,
  type Symmetry,
} from "../../../workbench/compress/index.ts";
import { gridScore } from "../../../workbench/compress/reorder/grid-score.ts";
import { permuteModel } from "../../../workbench/compress/reorder/permute.ts";
import { unitsOf } from "../../../workbench/compress/reorder/units.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { createModel, denseWeight, gpt2, type Model } from "../../../workbench/models/index.ts";
import { bigram } from "../../architectures/example.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { tinyModel, tokens } from "../tiny.ts";
import { distance, logitsOf, MODELS, shuffled } from "./cases.ts";

const make = (name: string): Model => (MODELS[name] as () => Model)();

async function reordered(model: Model, options: ReorderOptions): Promise<ReorderedUnits[]> {
  for await (const event of reorderModel(model, options)) if (event.kind === "reordered") return event.units;
  throw new Error("the reordering did not end");
}

const symmetryAt = (model: Model, name: string): Symmetry =>
  symmetriesOf(model.architecture, model.config).find((each) => each.name === name) as Symmetry;

async function matrixOf(model: Model, layer: string): Promise<(row: number, column: number) => number> {
  const weight = denseWeight(model, layer);
  const values = await weight.data();
  const columns = weight.shape[1];
  weight.dispose();
  return (row, column) => values[row * columns + column] as number;
}

forEachEngine("reordering", () => {
  for (const { name: order } of ORDERS) {
    test(`${order}: logits stay, on language models and classifiers, and the orders are those that were applied`, async () => {
      for (const name of ["gpt2, tied", "llama, tied, biases", "mixer", "resnet, hugging face"]) {
        const [model, other] = [make(name), make(name)];
        const expected = await logitsOf(model);
        const units = await reordered(model, { order });
        expect(units.some(({ order: own }) => own.some((from, to) => from !== to))).toBe(true);
        expect(distance(await logitsOf(model), expected)).toBeLessThan(2e-5);
        const symmetries = symmetriesOf(other.architecture, other.config);
        const again = units.map(({ name: of, kind, order: own }) => ({
          symmetry: symmetries.find(
            (each) => each.name === of && each.kind === kind && each.size === own.length,
          ) as Symmetry,
          order: own,
        }));
        permuteModel(other, again);
        for (const [key, variable] of other.parameters) {
          expect(await variable.data()).toEqual((await model.parameter(key).data()) as Float32Array);
        }
        for (const each of [model, other]) each.dispose();
      }
    });
  }

  test("hidden units that were shuffled are found again, group by group", async () => {
    const model = blocky();
    const symmetry = symmetryAt(model, "h.0.mlp.c_proj");
    const borders = async () => {
      const weight = await matrixOf(model, "h.0.mlp.c_proj");
      const groups = Array.from({ length: symmetry.size }, (_, unit) => {
        const sizes = rowOf(16, (row) => Math.abs(weight(row, unit)));
        return Math.floor(sizes.indexOf(Math.max(...sizes)) / 4);
      });
      return groups.filter((group, place) => place > 0 && group !== groups[place - 1]).length;
    };
    expect(await borders()).toBe(3);
    permuteModel(model, [{ symmetry, order: shuffled(symmetry.size, 3) }]);
    expect(await borders()).toBeGreaterThan(20);
    await reordered(model, { order: "clusters", kinds: ["hidden"] });
    expect(await borders()).toBe(3);
    model.dispose();
  });

  test("affinities are squared cosines, and energies what units contribute to outputs", async () => {
    const model = tinyModel() as Model;
    const symmetry = symmetryAt(model, "h.1.mlp.c_proj");
    const size = 64;
    const power = Float32Array.from({ length: size }, (_, i) => 0.1 + (i % 7));
    const { affinity, energy } = await unitsOf(model, symmetry, new Map([["h.1.mlp.c_proj", power]]));
    const [fc, proj] = await Promise.all(["h.1.mlp.c_fc", "h.1.mlp.c_proj"].map((name) => matrixOf(model, name)));
    const ofUnit = {
      out: (i: number) => rowOf(16, (k) => fc?.(i, k)),
      in: (i: number) => rowOf(16, (k) => proj?.(k, i)),
    };
    const cosines = (side: "out" | "in") =>
      square(size, (i, j) =>
        i === j
          ? 0
          : dot(ofUnit[side](i), ofUnit[side](j)) ** 2 /
            (dot(ofUnit[side](i), ofUnit[side](i)) * dot(ofUnit[side](j), ofUnit[side](j))),
      );
    const [out, within] = [shares(cosines("out")), shares(cosines("in"))];
    const expected = out.map((value, i) => value + 0.5 * (within[i] as number));
    expect(distance(affinity, Float32Array.from(expected))).toBeLessThan(1e-4);
    const strong = shares(
      Array.from({ length: size }, (_, i) => dot(ofUnit.in(i), ofUnit.in(i)) * (power[i] as number)),
    );
    expect(distance(energy, Float32Array.from(strong))).toBeLessThan(1e-4);
    const order = await orderNamed("energy").order({ affinity, energy, size }, async () => 0);
    const sorted = [...order].map((unit) => strong[unit] as number);
    expect(sorted.every((value, i) => i === 0 || value <= (sorted[i - 1] as number) * (1 + 1e-5))).toBe(true);
    model.dispose();
  });

  test("the powers of inputs are the diagonal of their covariance", async () => {
    const model = tinyModel() as Model;
    const layers = [...model.layers.keys()];
    const forward = (ids: tf.Tensor2D) => languageHidden(model as never, ids);
    async function* inputs() {
      for (const seed of [1, 2, 3]) yield tokens(seed);
    }
    let powers: InputPowers | undefined;
    for await (const event of inputPowers(model, inputs(), { layers, forward })) {
      if (event.kind === "powers") powers = event.powers;
    }
    for await (const event of calibrate(model, inputs(), { layers, forward })) {
      if (event.kind !== "calibrated") continue;
      for (const [name, covariance] of event.covariances) {
        const values = await covariance.data();
        const diagonal = Float32Array.from(
          { length: covariance.shape[0] },
          (_, i) => values[i * (covariance.shape[0] + 1)] as number,
        );
        expect(distance(powers?.get(name) as Float32Array, diagonal)).toBeLessThan(1e-5);
      }
      tf.dispose([...event.covariances.values()]);
    }
    expect(powers?.size).toBe(layers.length);
    model.dispose();
  });

  test("the search is never worse by its score than any order it began with", async () => {
    const model = make("llama, tied, biases");
    const symmetry = symmetryAt(model, "layers.1.mlp.down_proj");
    const units = await unitsOf(model, symmetry, new Map());
    const score = gridScore(model, symmetry, new Map());
    const scores = new Map<string, number>([
      ["none", await score(Int32Array.from({ length: symmetry.size }, (_, i) => i))],
    ]);
    for (const kind of ORDERS) scores.set(kind.name, await score(await kind.order(units, score)));
    const { search = 1, ...others } = Object.fromEntries(scores);
    expect(search).toBeLessThanOrEqual(Math.min(...Object.values(others)));
    model.dispose();
  });

  test("the search takes any score, such as the place of unit 5, and keeps the best order that it has tried", async () => {
    const model = make("gpt2, tied");
    const places = new Map<string, number[]>();
    const scoreOf = ({ name }: Symmetry) => {
      const tried: number[] = [];
      places.set(name, tried);
      return async (order: Int32Array) => {
        tried.push(order.indexOf(5));
        return order.indexOf(5);
      };
    };
    const units = await reordered(model, { order: "search", kinds: ["hidden"], scoreOf });
    expect(units.length).toBe(2);
    for (const { name, order } of units) {
      const tried = places.get(name) ?? [];
      expect(tried.length).toBeGreaterThan(8);
      expect(order.indexOf(5)).toBe(Math.min(...tried));
    }
    model.dispose();
  });
});

test("the score of a grid is the energy that float64 singular values of its cells lose at half of the cost", async () => {
  await openEngine();
  const model = make("gpt2, tied");
  const symmetry = symmetryAt(model, "h.0.mlp.c_proj");
  const order = Int32Array.from(shuffled(symmetry.size, 5));
  const power = Float32Array.from({ length: symmetry.size }, (_, i) => 0.1 + (i % 7));
  const score = gridScore(model, symmetry, new Map([["h.0.mlp.c_proj", power]]));
  const width = 24;
  const [fc, proj] = await Promise.all(["h.0.mlp.c_fc", "h.0.mlp.c_proj"].map((name) => matrixOf(model, name)));
  const lost = [
    (unit: number) => rowOf(width, (k) => fc?.(unit, k)),
    (unit: number) => rowOf(width, (k) => (proj?.(k, unit) ?? 0) * Math.sqrt(power[unit] as number)),
  ].map((weightsOf) => {
    const [all, own] = [symmetry.size, symmetry.size / 8];
    const energies = Array.from({ length: 8 }, (_, cell) => {
      const units = [...order.subarray(cell * own, (cell + 1) * own)];
      return new SingularValueDecomposition(new Matrix(units.map(weightsOf)), { autoTranspose: true }).diagonal;
    })
      .flat()
      .map((value) => value ** 2)
      .sort((a, b) => b - a);
    // All cells have the same size, so that the largest energies are kept.
    const kept = Math.floor((0.5 * all * width) / (own + width));
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    return sum(energies.slice(kept)) / sum(energies);
  });
  const expected = ((lost[0] as number) + (lost[1] as number)) / 2;
  expect(expected).toBeGreaterThan(0.01);
  expect(await score(order)).toBeCloseTo(expected, 5);
  model.dispose();
});

test("unknown orders, kinds that a model lacks and architectures without symmetries are refused in one line", async () => {
  await openEngine();
  const model = make("gpt2, tied");
  expect(() => orderNamed("seriaton")).toThrow(
    'there is no order "seriaton"; available: energy, seriation, clusters, search; use one of these',
  );
  await expect(reordered(model, { order: "energy", kinds: ["channels"] })).rejects.toThrow(
    "GPT-2 has no free order of channels; it has keys, values, heads, hidden, stream; choose one of these",
  );
  const plain = createModel(bigram, { vocab_size: 8, width: 4, inner: 6, positions: 5 }) as Model;
  await expect(reordered(plain, { order: "energy" })).rejects.toThrow(
    "Bigram declares no units whose order is free; leave out the reordering",
  );
});

/** A GPT-2 whose hidden units are four groups. Each reads and writes other components of the residual stream. */
function blocky(): Model {
  const model = createModel(
    gpt2,
    { n_layer: 1, n_embd: 16, n_head: 2, n_positions: 8, vocab_size: 20 },
    { seed: 2 },
  ) as Model;
  const groups = ([rows, columns]: readonly [number, number]) =>
    tf.tensor2d(
      Array.from({ length: rows * columns }, (_, at) =>
        Math.floor((4 * Math.floor(at / columns)) / rows) === Math.floor((4 * (at % columns)) / columns) ? 1 : 0.02,
      ),
      [rows, columns],
    );
  tf.tidy(() => {
    for (const [layer, sides] of [
      ["c_fc", [16, 64]],
      ["c_proj", [64, 16]],
    ] as const) {
      const variable = model.parameter(`h.0.mlp.${layer}.weight`);
      variable.assign(tf.mul(tf.mul(variable, 20), groups(sides)));
    }
  });
  return model;
}

const rowOf = (length: number, at: (k: number) => number | undefined): number[] =>
  Array.from({ length }, (_, k) => at(k) as number);
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
const square = (size: number, of: (i: number, j: number) => number): number[] =>
  Array.from({ length: size ** 2 }, (_, at) => of(Math.floor(at / size), at % size));

function shares(values: readonly number[]): number[] {
  const total = values.reduce((sum, x) => sum + x, 0);
  return values.map((value) => value / total);
}
