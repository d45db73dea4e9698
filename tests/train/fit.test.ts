// What `fit` does to a model, on every engine: it learns, its steps are those of one large batch, it stops before it
// spoils anything, and it leaves no tensor behind.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { targetedSoftshrink } from "../../workbench/gblr/shrink/index.ts";
import { NonFiniteError, RunError } from "../../workbench/train/events.ts";
import { type FitOptions, fit, type Task } from "../../workbench/train/index.ts";
import { groupOf, Optimizer } from "../../workbench/train/optimizer.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { collect, fullOptions, kinds, timelessMetrics } from "./runs.ts";
import { numbersOf, smallModel, smallTask } from "./small.ts";

// a busy machine takes long to start PyTorch or to flush a file
setDefaultTimeout(60_000);

let root: string;
let runs = 0;
const newFolder = () => join(root, `run-${runs++}`);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "fit-"));
});
afterAll(() => rm(root, { recursive: true }));

/** No schedule, no structure's learning: five steps of a plain run. */
const plain = (model: ReturnType<typeof smallModel>, changes: Partial<FitOptions> = {}): FitOptions => ({
  model,
  task: smallTask(model, { noise: 0 }),
  folder: newFolder(),
  length: { steps: 5 },
  batch: 12,
  seed: 3,
  optimizer: { learningRate: 0.01 },
  ...changes,
});

const lossesOf = (events: Awaited<ReturnType<typeof collect>>) =>
  events.flatMap((event) => (event.kind === "step" ? [event.loss] : []));

forEachEngine("fit", () => {
  test("lowers the loss, meets the budget, tells what metrics.jsonl says, and leaves the model and no more", async () => {
    const model = smallModel();
    // all the mask tables that σ's schedule asks for, which are kept
    const first = lossesOf(await collect(fullOptions(model, newFolder())))[0] as number;
    const before = liveTensors();
    const options = fullOptions(model, newFolder(), { length: { epochs: 20 } });
    const events = await collect(options);
    expect(liveTensors()).toEqual(before);
    const losses = lossesOf(events);
    expect(losses.length).toBe(80);
    const mean = (part: number[]) => part.reduce((sum, loss) => sum + loss, 0) / part.length;
    expect(mean(losses.slice(-8))).toBeLessThan(0.5 * first);
    const last = events.findLast((event) => event.kind === "step");
    expect(last?.relativeCost).toBeGreaterThan(0.38);
    expect(last?.relativeCost).toBeLessThanOrEqual(0.4);
    expect(last?.sigma).toBe(30);
    const told = events.filter(({ kind }) => ["step", "evaluation", "structure"].includes(kind));
    const timeless = told.map((event) => {
      const { seconds, rate, steps, secondsLeft, ...rest } = event as unknown as Record<string, unknown>;
      return rest;
    });
    expect(await timelessMetrics(options.folder)).toEqual(timeless);
    expect(kinds(events).slice(0, 4)).toEqual(["started", "evaluation", "structure", "step"]);
    expect(kinds(events).slice(-2)).toEqual(["checkpoint", "finished"]);
    model.dispose();
  });

  test("makes the steps of one large batch out of small ones of unequal sizes", async () => {
    const [whole, parts] = [smallModel({ structured: false }), smallModel({ structured: false })];
    const losses = [
      lossesOf(await collect(plain(whole))),
      lossesOf(await collect(plain(parts, { microBatch: 5 }))),
    ] as const;
    losses[0].forEach((loss, step) => {
      expect(Math.abs(loss - (losses[1][step] as number))).toBeLessThan(1e-6);
    });
    const [expected, actual] = [await numbersOf(whole), await numbersOf(parts)];
    for (const [name, numbers] of Object.entries(expected)) {
      numbers.forEach((value, i) => {
        expect(Math.abs(value - (actual[name]?.[i] as number))).toBeLessThan(2e-5);
      });
    }
    whole.dispose();
    parts.dispose();
  });

  test("stops at a loss or a gradient that is not finite, names step and batch, and spoils no parameter", async () => {
    for (const [value, message] of [
      [
        Number.NaN,
        /^step 3: the loss of micro-batch 2 of 3 \(items \d+, \d+, \d+, \d+, \d+\) is NaN; the parameters are/,
      ],
      [
        0,
        /^step 3: the norm of the gradient is (NaN|Infinity), although every loss is finite; the parameters are those of step 2;/,
      ],
    ] as const) {
      const model = smallModel({ structured: false });
      const task = smallTask(model);
      let calls = 0;
      const spoiled: Task = {
        ...task,
        loss: (batch, options) => {
          const loss = task.loss(batch, options);
          // √x at 0 has slope ∞
          const bad = () => (value === 0 ? tf.add(loss, tf.sqrt(tf.mul(loss, 0))) : tf.mul(loss, value));
          return ++calls === 8 ? (bad() as tf.Scalar) : loss;
        },
      };
      const before = liveTensors();
      const run = fit(plain(model, { task: spoiled, microBatch: 5 }));
      let kept: Record<string, number[]> = {};
      let error: unknown;
      try {
        for await (const event of run) if (event.kind === "step") kept = await numbersOf(model);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(NonFiniteError);
      expect((error as NonFiniteError).step).toBe(3);
      expect((error as Error).message).toMatch(message);
      expect(await numbersOf(model)).toEqual(kept);
      expect(liveTensors()).toEqual(before);
      model.dispose();
    }
  });

  test("leaves widths and locations alone once a rule has frozen them, and everything else not", async () => {
    const model = smallModel();
    const shrink = targetedSoftshrink({ threshold: 0.1, target: 0.99, freeze: true });
    const run = fit(plain(model, { shrink, optimizer: { learningRate: 0.05, weightDecay: 0.1 } }));
    const seen: Record<string, number[]>[] = [];
    for await (const event of run) if (event.kind === "step") seen.push(await numbersOf(model));
    const [first, last] = [seen[0] as Record<string, number[]>, seen.at(-1) as Record<string, number[]>];
    for (const name of ["fc1.widths", "fc1.locations"]) expect(last[name]).toEqual(first[name] as number[]);
    expect(last["fc1.lr_weight1"]).not.toEqual(first["fc1.lr_weight1"] as number[]);
    expect(last.seen).toEqual([1, 2, 3]);
    model.dispose();
  });

  test("keeps widths and locations in their ranges where no rule shrinks", async () => {
    const model = smallModel();
    await collect(plain(model, { length: { steps: 20 }, optimizer: { learningRate: 0.2 } }));
    const { "fc1.widths": widths, "fc1.locations": locations } = await numbersOf(model);
    expect((widths as number[]).every((width) => width >= 0 && width <= 1)).toBe(true);
    expect((locations as number[]).every((location) => location >= 0 && location < 1)).toBe(true);
    expect(Math.max(...(widths as number[]))).toBe(1);
    model.dispose();
  });

  test("frees everything when the reader of events leaves early", async () => {
    const model = smallModel();
    await collect(fullOptions(model, newFolder(), { length: { steps: 1 } }));
    const before = liveTensors();
    for await (const event of fit(fullOptions(model, newFolder()))) if (event.kind === "step") break;
    expect(liveTensors()).toEqual(before);
    expect(model.masks.mode).toBeUndefined();
    model.dispose();
  });
});

forEachEngine("fit's events", (_, { name }) => {
  if (name !== "cpu") return;

  test("end with a checkpoint and `interrupted` after the present step when the signal says so", async () => {
    const [model, other] = [smallModel(), smallModel()];
    const stop = new AbortController();
    const options = fullOptions(model, newFolder(), { signal: stop.signal });
    const seen: string[] = [];
    for await (const event of fit(options)) {
      seen.push(event.kind === "step" ? `step ${event.step}` : event.kind);
      if (event.kind === "step" && event.step === 7) stop.abort();
    }
    expect(seen.slice(-3)).toEqual(["step 7", "checkpoint", "interrupted"]);
    const resumed = await collect(fullOptions(model, options.folder));
    expect(resumed[0]).toMatchObject({ kind: "resumed", step: 7, steps: 24, passedOver: [] });
    expect(resumed[1]).toMatchObject({ kind: "step", step: 8 });
    const alone = fullOptions(other, newFolder());
    await collect(alone);
    expect(await numbersOf(model)).toEqual(await numbersOf(other));
    expect(await timelessMetrics(options.folder)).toEqual(await timelessMetrics(alone.folder));
    model.dispose();
    other.dispose();
  });

  test("hold an evaluation that the signal cut short again after resuming, its masks in evaluation mode", async () => {
    const model = smallModel();
    const stop = new AbortController();
    const modes: unknown[] = [];
    const evaluation = {
      every: { steps: 3 },
      first: false,
      run: async ({ step }: { step: number }) => {
        modes.push([step, model.masks.mode]);
        if (step === 6 && !stop.signal.aborted) {
          stop.abort();
          stop.signal.throwIfAborted();
        }
        return { validation: { nll: 1 } };
      },
    };
    const options = fullOptions(model, newFolder(), { evaluation, signal: stop.signal });
    expect(kinds(await collect(options)).slice(-3)).toEqual(["step", "checkpoint", "interrupted"]);
    const { signal, ...unsignalled } = options;
    const events = await collect({ ...unsignalled, length: { steps: 24 } });
    expect(kinds(events).slice(0, 3)).toEqual(["resumed", "evaluation", "structure"]);
    expect(modes.slice(0, 4)).toEqual([3, 6, 6, 9].map((step) => [step, "eval"]));
    model.dispose();
  });

  test("write samples after each evaluation, once a step also where a run goes on from before them", async () => {
    const model = smallModel();
    const folder = newFolder();
    const stop = new AbortController();
    const modes: string[] = [];
    const evaluation = {
      every: { steps: 4 },
      run: async () => ({ test: { nll: 1 } }),
      samples: async () => {
        modes.push(String(model.masks.mode));
        return [{ prompt: "a", text: `b${modes.length}` }];
      },
    };
    const options = fullOptions(model, folder, { evaluation, signal: stop.signal });
    for await (const event of fit(options)) if (event.kind === "sample" && event.step === 8) stop.abort();
    const { signal, ...unsignalled } = options;
    const events = kinds(await collect({ ...unsignalled, length: { steps: 24 } }));
    expect(events.at(events.indexOf("sample") - 1)).toBe("evaluation");
    expect(new Set(modes)).toEqual(new Set(["eval"]));
    const samples = (await timelessMetrics(folder)).filter(({ kind }) => kind === "sample");
    expect(samples.map(({ step }) => step)).toEqual([0, 4, 8, 12, 16, 20, 24]);
    expect(samples[0]).toMatchObject({ prompt: "a", text: "b1" });
    model.dispose();
  });

  test("stop at an evaluation that is not finite, and pass on an evaluation's own error", async () => {
    const model = smallModel();
    const run = (values: () => Promise<Record<string, Record<string, number>>>) =>
      collect(fullOptions(model, newFolder(), { evaluation: { run: values } }));
    await expect(run(async () => ({ test: { nll: Number.NaN } }))).rejects.toThrow("step 0: nll of test is NaN");
    await expect(run(() => Promise.reject(new Error("no such split")))).rejects.toThrow("no such split");
    model.dispose();
  });

  test("pass on an error of the data, with every line before it whole on the disk", async () => {
    const model = smallModel();
    const task = smallTask(model);
    const broken: Task = {
      ...task,
      read: (items, options) =>
        items.includes(17) ? Promise.reject(new Error("item 17 is gone")) : task.read(items, options),
    };
    const options = plain(model, { task: broken, batch: 4, length: { epochs: 1 } });
    const before = liveTensors();
    await expect(collect(options)).rejects.toThrow("item 17 is gone");
    expect(liveTensors()).toEqual(before);
    const text = await readFile(join(options.folder, "metrics.jsonl"), "utf8");
    expect(text === "" || text.endsWith("}\n")).toBe(true);
    model.dispose();
  });

  test("refuse settings that make no sense before anything is written", async () => {
    const model = smallModel();
    const refused = async (changes: Partial<FitOptions>, message: string) => {
      const options = plain(model, changes);
      await expect(collect(options)).rejects.toThrow(message);
      await expect(readFile(join(options.folder, "metrics.jsonl"))).rejects.toThrow("ENOENT");
    };
    await refused({ batch: 0 }, "batch must be a whole number of at least 1, got 0");
    await refused({ settings: { rate: Number.NaN } }, 'setting "rate" must be a finite number');
    await refused(
      { sigma: { initial: 0, final: 1, startEpoch: 0, endEpoch: 1 } },
      "initial must be a finite number above 0",
    );
    await refused({ optimizer: { learningRate: 1, schedule: { decay: "linear", minimum: -1 } } }, "minimum must be");
    await refused({ resume: "require" }, "there is no checkpoint in");
    for (const parameter of model.parameters.values()) parameter.trainable = false;
    await expect(collect(plain(model))).rejects.toBeInstanceOf(RunError);
    model.dispose();
  });

  test("put parameters into groups by what they are", () => {
    const model = smallModel();
    const groups = Object.fromEntries([...model.parameters.keys()].map((name) => [name, groupOf(model, name)]));
    expect(groups).toEqual({
      "fc1.lr_weight1": "weights",
      "fc1.lr_weight2": "weights",
      "fc1.widths": "structure",
      "fc1.locations": "structure",
      "fc1.bias": "plain",
      "gain.weight": "plain",
      "fc2.weight": "weights",
      "fc2.bias": "plain",
      seen: "plain",
    });
    const optimizer = new Optimizer(model, { learningRate: 1, structureLearningRate: 0.1 });
    expect(optimizer.learned.map(({ name }) => name)).not.toContain("seen");
    expect(optimizer.rates({ step: 0, steps: 9, stepsPerEpoch: 3 })).toEqual({ weights: 1, plain: 1, structure: 0.1 });
    optimizer.dispose();
    model.dispose();
  });
});
