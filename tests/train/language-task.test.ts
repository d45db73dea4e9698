// Training a language model: five steps of a tiny GPT-2 beside PyTorch's AdamW on the same windows, dropout by seed, and
// learning from a teacher.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import type { TokenWindows } from "../../workbench/data/types.ts";
import { createModel, type Gpt2Config, gpt2, type Model } from "../../workbench/models/index.ts";
import { denseWeight, replaceLayer } from "../../workbench/models/layers.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";
import { type FitOptions, languageTask } from "../../workbench/train/index.ts";
import { Adapters } from "../../workbench/train/lora.ts";
import { epochOrder, learningRateAt, scheduleOf, timeAt } from "../../workbench/train/schedule.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { PATIENCE } from "../python/python.ts";
import { fromPytorch, HAS_PYTORCH } from "./pytorch.ts";
import { collect } from "./runs.ts";
import { numbersOf } from "./small.ts";

const CONFIG = {
  n_layer: 2,
  n_embd: 16,
  n_head: 2,
  n_positions: 12,
  vocab_size: 31,
  layer_norm_epsilon: 1e-5,
  resid_pdrop: 0.1,
  embd_pdrop: 0.1,
  attn_pdrop: 0.1,
};
const tiny = (seed = 1): Model<Gpt2Config> => createModel(gpt2, CONFIG, { seed });

/** A language of one rule with exceptions: the next token is 3 times this one plus 1, but for every seventh. */
function windowsOf(length: number, context = 12): TokenWindows {
  return {
    length,
    context,
    async read(i) {
      const ids = new Int32Array(context + 1);
      ids[0] = (i * 11) % CONFIG.vocab_size;
      for (let at = 1; at <= context; at++) {
        ids[at] = ((ids[at - 1] as number) * 3 + 1 + Number((i + at) % 7 === 0)) % CONFIG.vocab_size;
      }
      return ids;
    },
  };
}

// a busy machine takes long to start PyTorch or to flush a file
setDefaultTimeout(PATIENCE);

let root: string;
let runs = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "language-"));
});
afterAll(() => rm(root, { recursive: true }));

const optionsFor = (model: Model<Gpt2Config>, changes: Partial<FitOptions> = {}): FitOptions => ({
  model,
  task: languageTask({ model, windows: windowsOf(20), dropout: false }),
  folder: join(root, `run-${runs++}`),
  length: { steps: 5 },
  batch: 8,
  microBatch: 3,
  seed: 5,
  optimizer: {
    learningRate: 2e-3,
    weightDecay: 0.1,
    clipNorm: 1,
    // keys' biases have no gradient but rounding, which a smaller one would make into steps
    epsilon: 1e-6,
    schedule: { decay: "linear", warmup: { steps: 2 } },
  },
  ...changes,
});

const lossesOf = (events: Awaited<ReturnType<typeof collect>>) =>
  events.flatMap((event) => (event.kind === "step" ? [event.loss] : []));

/** What reference.py gives for steps. */
interface Expected {
  losses: number[];
  norms: number[];
  parameters: Record<string, number[]>;
}

/** Rates, windows and settings of the steps of a run, for reference.py. */
async function stepsOf(options: FitOptions): Promise<Record<string, unknown>> {
  const schedule = scheduleOf(options);
  const { learningRate, weightDecay, epsilon, clipNorm, schedule: shape } = options.optimizer;
  const steps = Array.from({ length: schedule.steps }, (_, step) => step);
  const windows = steps.map((step) => {
    const { epoch, batch } = timeAt(schedule, step);
    return [...epochOrder(schedule, epoch).subarray(batch * 8, (batch + 1) * 8)];
  });
  return {
    rates: steps.map((step) => learningRateAt(shape ?? { decay: "constant" }, learningRate, { step, ...schedule })),
    windows: await Promise.all(
      windows.map((items) => Promise.all(items.map(async (i) => [...(await windowsOf(20).read(i))]))),
    ),
    weight_decay: weightDecay,
    epsilon,
    clip_norm: clipNorm,
  };
}

/** Variables for reference.py. */
async function stored(variables: Iterable<[string, tf.Variable]>): Promise<Record<string, unknown>> {
  const read = Array.from(variables, async ([name, variable]) => {
    return [name, { values: [...(await variable.data())], shape: variable.shape }] as const;
  });
  return Object.fromEntries(await Promise.all(read));
}

function expectSteps(events: Awaited<ReturnType<typeof collect>>, { losses, norms }: Expected): void {
  const steps = events.filter((event) => event.kind === "step");
  expect(steps.length).toBe(5);
  for (const [i, { loss, gradientNorm }] of steps.entries()) {
    expect(Math.abs(loss - (losses[i] as number))).toBeLessThan(1e-5);
    expect(Math.abs(gradientNorm - (norms[i] as number))).toBeLessThan(1e-5);
  }
}

forEachEngine("language-model training", () => {
  test.skipIf(!HAS_PYTORCH)("makes PyTorch's steps: losses, norms and parameters to 1e-5", async () => {
    const model = tiny();
    const options = optionsFor(model);
    const start = await numbersOf(model);
    const expected = await fromPytorch<Expected>({
      what: "gpt2",
      config: CONFIG,
      parameters: await stored(model.parameters),
      ...(await stepsOf(options)),
    });
    expectSteps(await collect(options), expected);
    for (const [name, values] of Object.entries(await numbersOf(model))) {
      const apart = values.map((value, i) => Math.abs(value - (expected.parameters[name]?.[i] as number)));
      expect(Math.max(...apart)).toBeLessThan(1e-5);
      expect(values).not.toEqual(start[name] as number[]);
    }
    model.dispose();
  });

  test.skipIf(!HAS_PYTORCH)(
    "makes PyTorch's steps on adapters of low-rank factors and dense weights, with a dense teacher, to 1e-5",
    async () => {
      const [teacher, model] = [tiny(4), tiny(4)];
      const base: Model = model;
      for (const i of [0, 1]) {
        const name = `h.${i}.mlp.c_fc`;
        replaceLayer(base, name, lowrank, await lowrank.fromDense(denseWeight(base, name), 0.6));
      }
      const learning = { temperature: 1.5, weight: 0.7 };
      const task = languageTask({
        model,
        windows: windowsOf(20),
        dropout: false,
        teacher: { model: teacher, ...learning, chunk: 200 },
      });
      const lora = { rank: 3, alpha: 6, layers: "mlp" };
      const options = optionsFor(model, { task, lora });
      const adapters = new Adapters(model, lora, options.seed);
      const expected = await fromPytorch<Expected>({
        what: "lora",
        config: CONFIG,
        parameters: await stored(model.parameters),
        teacher: await stored(teacher.parameters),
        adapters: await stored(adapters.variables()),
        scale: 2,
        ...learning,
        ...(await stepsOf(options)),
      });
      adapters.dispose();
      const start = await numbersOf(model);
      expectSteps(await collect(options), expected);
      const changed = new Set<string>();
      for (const [name, values] of Object.entries(await numbersOf(model))) {
        const apart = values.map((value, i) => Math.abs(value - (expected.parameters[name]?.[i] as number)));
        expect(Math.max(...apart)).toBeLessThan(1e-5);
        if (!Bun.deepEquals(values, start[name])) changed.add(name.replace(/^h\.\d\./, ""));
      }
      expect([...changed].sort()).toEqual(["mlp.c_fc.left", "mlp.c_fc.right", "mlp.c_proj.weight"]);
      model.dispose();
      teacher.dispose();
    },
  );

  test("drops by seed alone: two runs are equal bit by bit, and another seed's is not", async () => {
    const run = async (seed: number, dropout: boolean) => {
      const model = tiny();
      const task = languageTask({ model, windows: windowsOf(8), dropout });
      const losses = lossesOf(await collect(optionsFor(model, { task, seed, length: { steps: 3 } })));
      const numbers = await numbersOf(model);
      model.dispose();
      return { losses, numbers };
    };
    const first = await run(1, true);
    expect(await run(1, true)).toEqual(first);
    expect((await run(2, true)).losses).not.toEqual(first.losses);
    expect((await run(1, false)).losses).not.toEqual(first.losses);
  });

  test("learns from a teacher alone what the teacher knows, and leaves the teacher as it is", async () => {
    const teacher = tiny(2);
    const optimizer = { learningRate: 2e-2 };
    await collect(optionsFor(teacher, { optimizer, length: { steps: 12 }, batch: 4, microBatch: 4 }));
    const known = await numbersOf(teacher);
    const student = tiny(3);
    const windows = windowsOf(20);
    const task = languageTask({
      model: student,
      windows,
      dropout: false,
      teacher: { model: teacher, temperature: 1, weight: 1, chunk: 100 },
    });
    const before = liveTensors();
    const divergences = lossesOf(
      await collect(optionsFor(student, { task, optimizer, length: { steps: 14 }, batch: 4 })),
    );
    expect(liveTensors()).toEqual(before);
    expect(divergences.every((divergence) => divergence > 0)).toBe(true);
    expect(divergences.at(-1)).toBeLessThan(0.3 * (divergences[0] as number));
    expect(await numbersOf(teacher)).toEqual(known);
    const probe = tf.tensor2d(await windows.read(3), [1, 13], "int32");
    const [own] = [languageTask({ model: student, windows, dropout: false }).loss({ windows: probe }, { seed: 0 })];
    expect((await own.data())[0]).toBeLessThan(Math.log(CONFIG.vocab_size));
    tf.dispose([probe, own]);
    student.dispose();
    teacher.dispose();
  });
});
