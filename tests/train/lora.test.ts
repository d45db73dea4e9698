// Training with adapters on the small model: which parameters change, that the model holds the sums, that gradients are
// those of the adapters, that a run resumes, and what is refused.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { valueAndGradients } from "../../workbench/engine/tfjs/tape.ts";
import { replaceLayer } from "../../workbench/models/index.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";
import type { FitOptions } from "../../workbench/train/index.ts";
import { Adapters, expectLora, type LoraOptions } from "../../workbench/train/lora.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { collect, fullOptions, loraOptions, timelessMetrics } from "./runs.ts";
import { numbersOf, smallModel, smallTask, values } from "./small.ts";

setDefaultTimeout(60_000);

let root: string;
let runs = 0;
const newFolder = () => join(root, `run-${runs++}`);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lora-"));
});
afterAll(() => rm(root, { recursive: true }));

const ADAPTED = ["fc1.lr_weight1", "fc1.lr_weight2", "fc2.weight"];

/** Rows and columns of the matrices, and of their adapters. */
const SIZES = { "fc1.lr_weight1": [8, 12], "fc1.lr_weight2": [8, 16], "fc2.weight": [5, 16] } as const;

/**
 * The step sizes of each row of the matrices, from the definition: the blocks of fc1 have one row of each factor, and a
 * step is as much smaller as the row of the other factor is longer than √(its entries / 8).
 */
function stepsOf(start: Record<string, readonly number[]>): Record<string, number[]> {
  const beside = (name: "fc1.lr_weight1" | "fc1.lr_weight2") => {
    const [blocks, entries] = SIZES[name];
    const row = (k: number) => (start[name] as readonly number[]).slice(k * entries, (k + 1) * entries);
    return Array.from({ length: blocks }, (_, k) => Math.min(1, Math.sqrt(entries / blocks) / Math.hypot(...row(k))));
  };
  return { "fc1.lr_weight1": beside("fc1.lr_weight2"), "fc1.lr_weight2": beside("fc1.lr_weight1") };
}

/** (α/r) S ∘ B A of a checkpoint, in float64. */
async function productsOf(
  folder: string,
  { scale, start }: { scale: number; start: Record<string, readonly number[]> },
): Promise<Record<string, number[]>> {
  const steps = stepsOf(start);
  const stored = await readSafetensors(join(folder, "checkpoint/step-0000000024.safetensors"));
  const found: Record<string, number[]> = {};
  for (const [name, [rows, columns]] of Object.entries(SIZES)) {
    const [a, b] = ["lora_A", "lora_B"].map((part) => stored.get(`parameter/${name}.${part}`)?.data as Float32Array);
    const rank = (a?.length ?? 0) / columns;
    found[name] = Array.from({ length: rows * columns }, (_, at) => {
      const [row, column] = [Math.floor(at / columns), at % columns];
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += Number(b?.[row * rank + k]) * Number(a?.[k * columns + column]);
      return scale * (steps[name]?.[row] ?? 1) * sum;
    });
  }
  return found;
}

/** Compares the gradients of A and B, without the scale, with Bᵀ (S ∘ G) and (S ∘ G) Aᵀ, where G is the factor's. */
async function expectChainRule(
  name: string,
  {
    variables,
    whole,
    step,
  }: {
    variables: ReadonlyMap<string, tf.Variable>;
    whole: tf.Tensor | undefined;
    step: (row: number, column: number) => number;
  },
  gradientOf: (variable: tf.Variable) => tf.Tensor,
): Promise<void> {
  const [a, b] = ["lora_A", "lora_B"].map((part) => variables.get(`${name}.${part}`)) as [tf.Variable, tf.Variable];
  const [rank, columns] = a.shape as [number, number];
  const rows = b.size / rank;
  const tensors = [a, b, whole as tf.Tensor, gradientOf(a), gradientOf(b)];
  const [av, bv, g, da, db] = (await Promise.all(tensors.map((tensor) => tensor.data()))) as Float32Array[];
  const at = (list: Float32Array | undefined, index: number) => list?.[index] as number;
  const gradient = (row: number, column: number) => step(row, column) * at(g, row * columns + column);
  for (let k = 0; k < rank; k++) {
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += at(bv, r * rank + k) * gradient(r, c);
      expect(Math.abs(sum - at(da, k * columns + c))).toBeLessThan(1e-5);
    }
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += gradient(r, c) * at(av, k * columns + c);
      expect(Math.abs(sum - at(db, r * rank + k))).toBeLessThan(1e-5);
    }
  }
}

forEachEngine("training adapters", () => {
  test("lowers the loss, changes factors by the products in the checkpoint, and changes and stores nothing else", async () => {
    const model = smallModel();
    const start = await numbersOf(model);
    const folder = newFolder();
    // all the mask tables that σ's schedule asks for, which are kept
    const other = smallModel();
    await collect(loraOptions(other, newFolder()));
    other.dispose();
    const before = liveTensors();
    const events = await collect(loraOptions(model, folder));
    const losses = events.flatMap((event) => (event.kind === "step" ? [event.loss] : []));
    const sides = Object.values(SIZES).map(([rows, columns]) => rows + columns);
    expect(events[0]).toMatchObject({ kind: "started", adapted: 3 * sides.reduce((sum, side) => sum + side, 0) });
    expect(liveTensors()).toEqual(before);
    expect(losses.at(-1)).toBeLessThan(0.6 * (losses[0] as number));
    const products = await productsOf(folder, { scale: 2, start });
    expect(
      Object.values(stepsOf(start))
        .flat()
        .some((step) => step < 0.9),
    ).toBe(true);
    for (const [name, numbers] of Object.entries(await numbersOf(model))) {
      const product = products[name];
      if (!product) expect(numbers).toEqual(start[name] as number[]);
      else {
        const apart = numbers.map((value, i) =>
          Math.abs(value - (start[name]?.[i] as number) - (product[i] as number)),
        );
        expect(Math.max(...apart)).toBeLessThan(1e-6);
        expect(Math.max(...product.map(Math.abs))).toBeGreaterThan(0.01);
      }
    }
    const stored = await readSafetensors(join(folder, "checkpoint/step-0000000024.safetensors"));
    const names = ADAPTED.flatMap((name) => [`${name}.lora_A`, `${name}.lora_B`]);
    expect([...stored.keys()].sort()).toEqual(
      names.flatMap((name) => ["first", "parameter", "second"].map((kind) => `${kind}/${name}`)).sort(),
    );
    const frozen = [...model.parameters].flatMap(([name, { trainable }]) => (trainable ? [] : [name]));
    expect(frozen).toEqual(["seen"]);
    model.dispose();
  });

  test("gives the adapters the gradients that the chain rule makes of the factors' gradients, summed over batches", async () => {
    const model = smallModel();
    const steps = stepsOf(await numbersOf(model));
    const { loss } = smallTask(model);
    const batch = { x: values(30, [6, 12]), y: values(31, [6, 5]) };
    const adapters = new Adapters(model, { rank: 2, alpha: 3 }, 7);
    const variables = new Map(adapters.variables());
    for (const [name, variable] of variables) if (name.endsWith("_B")) variable.assign(values(32, variable.shape, 0.3));
    adapters.merge();
    const factors = ADAPTED.map((name) => model.parameter(name));
    for (const factor of factors) factor.trainable = true;
    const whole = valueAndGradients(() => loss(batch, { seed: 0 }), factors);
    const once = () => valueAndGradients(() => loss(batch, { seed: 0 }), [...variables.values()], adapters);
    const onto = once().gradients;
    const twice = valueAndGradients(() => loss(batch, { seed: 0 }), [...variables.values()], { ...adapters, onto });
    expect(twice.gradients.size).toBe(6);
    for (const [i, name] of ADAPTED.entries()) {
      const step = (row: number) => steps[name]?.[row] ?? 1;
      await expectChainRule(
        name,
        { variables, whole: whole.gradients.get(factors[i] as tf.Variable), step },
        (variable) => {
          return tf.div(twice.gradients.get(variable) as tf.Tensor, 2 * 1.5);
        },
      );
    }
    adapters.dispose();
    tf.dispose([batch, whole.value, [...whole.gradients.values()], twice.value, [...twice.gradients.values()]]);
    model.dispose();
  });

  test("gives adapters of low-rank factors these gradients without the factors' gradients", async () => {
    const model = smallModel();
    // Terms of very different sizes, so that step sizes differ.
    const sizes = tf.tensor1d(Array.from({ length: 8 }, (_, k) => 0.2 * 2 ** k));
    const left = tf.mul(values(40, [16, 8]), sizes);
    const right = tf.mul(values(41, [8, 12]), tf.reshape(sizes, [8, 1]));
    const lengths = async (factor: tf.Tensor, axis: number) => [...(await tf.norm(factor, 2, axis).data())];
    const beside = { left: await lengths(right, 1), right: await lengths(left, 0) };
    const stepOf = (length: number | undefined, entries: number) =>
      Math.min(1, Math.sqrt(entries / 8) / Number(length));
    const steps = {
      left: (_: number, column: number) => stepOf(beside.left[column], 12),
      right: (row: number) => stepOf(beside.right[row], 16),
    };
    replaceLayer(model, "fc1", lowrank, { left, right });
    const { loss } = smallTask(model);
    const batch = { x: values(30, [6, 12], 0.3), y: values(31, [6, 5]) };
    const adapters = new Adapters(model, { rank: 1, layers: "fc1" }, 7);
    const variables = new Map(adapters.variables());
    for (const [name, variable] of variables) if (name.endsWith("_B")) variable.assign(values(32, variable.shape, 0.1));
    adapters.merge();
    const factors = [model.parameter("fc1.left"), model.parameter("fc1.right")];
    for (const factor of factors) factor.trainable = true;
    const whole = valueAndGradients(() => loss(batch, { seed: 0 }), factors);
    const own = valueAndGradients(() => loss(batch, { seed: 0 }), [...variables.values()], adapters);
    expect([...adapters.through.values()].every(({ product }) => product !== undefined)).toBe(true);
    for (const [i, part] of (["left", "right"] as const).entries()) {
      const of = { variables, whole: whole.gradients.get(factors[i] as tf.Variable), step: steps[part] };
      await expectChainRule(`fc1.${part}`, of, (variable) => own.gradients.get(variable) as tf.Tensor);
    }
    adapters.dispose();
    tf.dispose([batch, whole.value, [...whole.gradients.values()], own.value, [...own.gradients.values()]]);
    model.dispose();
  });

  test("trains chosen parameters in full beside the adapters of chosen layers", async () => {
    const model = smallModel();
    const start = await numbersOf(model);
    await collect(loraOptions(model, newFolder(), { lora: { rank: 2, layers: "fc2", full: ["bias", "gain"] } }));
    const after = await numbersOf(model);
    const changed = Object.keys(start).filter((name) => !Bun.deepEquals(start[name], after[name]));
    expect(changed.sort()).toEqual(["fc1.bias", "fc2.bias", "fc2.weight", "gain.weight"]);
    model.dispose();
  });

  test("gives a matrix that is smaller than the rank the rank of its smaller side", async () => {
    const model = smallModel();
    const folder = newFolder();
    expectLora(model, { rank: 7 });
    await collect(loraOptions(model, folder, { lora: { rank: 7 }, length: { steps: 2 } }));
    const stored = await readSafetensors(join(folder, "checkpoint/step-0000000002.safetensors"));
    const shapeOf = (name: string) => stored.get(`parameter/${name}`)?.shape;
    expect(shapeOf("fc1.lr_weight1.lora_A")).toEqual([7, 12]);
    expect([shapeOf("fc2.weight.lora_A"), shapeOf("fc2.weight.lora_B")]).toEqual([
      [5, 16],
      [5, 5],
    ]);
    model.dispose();
  });

  test("resumes a stopped run with the numbers of an unbroken one, from the same base only", async () => {
    const [unbroken, stopped, continued] = [smallModel(), smallModel(), smallModel()];
    const [alone, folder] = [newFolder(), newFolder()];
    await collect(loraOptions(unbroken, alone));
    const controller = new AbortController();
    const task = smallTask(stopped);
    let reads = 0;
    const read: typeof task.read = (items, options) => {
      if (++reads === 20) controller.abort();
      return task.read(items, options);
    };
    await collect(loraOptions(stopped, folder, { task: { ...task, read }, signal: controller.signal }));
    // The stopped model has the sums, which are no base to resume from.
    await expect(collect(loraOptions(stopped, folder))).rejects.toThrow(
      /was saved with other settings: base parameters is "[0-9a-f]{12}", requested "[0-9a-f]{12}"; use those, or start/,
    );
    await collect(loraOptions(continued, folder));
    expect(await numbersOf(continued)).toEqual(await numbersOf(unbroken));
    expect(await timelessMetrics(folder)).toEqual(await timelessMetrics(alone));
    for (const model of [unbroken, stopped, continued]) model.dispose();
  });

  test("refuses ranks, layers and settings that do not fit, in one line, and leaves the model as it was", async () => {
    const model = smallModel();
    const before = liveTensors();
    const run = (lora: LoraOptions, changes: Partial<FitOptions> = {}) =>
      collect(loraOptions(model, newFolder(), { lora, ...changes }));
    await expect(run({ rank: 0 })).rejects.toThrow("lora: rank must be an integer of at least 1, got 0");
    await expect(run({ rank: 2, alpha: 0 })).rejects.toThrow("lora: alpha must be a number above 0, got 0");
    expect(() => expectLora(model, { rank: 9 })).toThrow(
      "lora: rank 9 is larger than the smaller side of every chosen matrix; give a rank of at most 8",
    );
    await expect(run({ rank: 2, layers: "fc7" })).rejects.toThrow('no layer of small has "fc7" in its name');
    await expect(run({ rank: 2, full: ["norm"] })).rejects.toThrow(
      'lora: no parameter of small that can be trained has "norm" in its name',
    );
    const { shrink } = fullOptions(model, newFolder());
    await expect(run({ rank: 2 }, shrink ? { shrink } : {})).rejects.toThrow("give lora or shrink, not both");
    const trainable = () => [...model.parameters.values()].map((parameter) => parameter.trainable);
    const start = trainable();
    await expect(run({ rank: 2 }, { shrinkEvery: 0 })).rejects.toThrow("shrinkEvery must be an integer of at least 1");
    expect(trainable()).toEqual(start);
    for (const parameter of model.parameters.values()) parameter.trainable = false;
    await expect(run({ rank: 2 })).rejects.toThrow("lora: no chosen layer has a matrix that can be trained");
    expect(liveTensors()).toEqual(before);
    model.dispose();
  });

  test("trains blocks that cancel each other, which training of all parameters refuses in one line", async () => {
    const model = smallModel();
    const part = (own: string) => model.parameter(`fc1.${own}`);
    tf.tidy(() => {
      // Two blocks of full width that are 50 times as large as before, and nearly cancel each other.
      const large = (own: string) => {
        const first = tf.mul(tf.slice(part(own), 0, 1), 7);
        const second = tf.mul(first, own === "lr_weight1" ? -1 : 1.01);
        part(own).assign(tf.concat([first, second, tf.slice(part(own), 2)]));
      };
      large("lr_weight1");
      large("lr_weight2");
      const whole = [1, 1, ...new Array(6).fill(0.5)];
      part("widths").assign(tf.tensor2d([whole, whole]));
      part("locations").assign(tf.zeros([2, 8]));
    });
    const start = await numbersOf(model);
    const folder = newFolder();
    await expect(collect(fullOptions(model, folder))).rejects.toThrow(
      /^the blocks of fc1 cancel each other: they are \d+ times as large as their sum, .*--lora, or convert with --stable-blocks$/,
    );
    expect(await numbersOf(model)).toEqual(start);
    const losses = (await collect(loraOptions(model, newFolder()))).flatMap((event) =>
      event.kind === "step" ? [event.loss] : [],
    );
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    model.dispose();
  });
});
