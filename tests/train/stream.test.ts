// Training on a stream in one process: it goes on where it was, begins anew for each model, and holds no file after its end.

import { afterEach, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openTokenStream, type TokenStream } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { createModel, gpt2 } from "../../workbench/models/index.ts";
import { nameOf } from "../../workbench/train/checkpoint-format.ts";
import { type FitOptions, languageTask, type Task } from "../../workbench/train/index.ts";
import { byteTokenizer, CONTEXT, filesAt, writeRows } from "../data/stream/rows.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { collect } from "./runs.ts";

const at = temporaryFolder();
const counted = { open: 0, bytes: 0 };
let stream: TokenStream;
let runs = 0;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  byteTokenizer(at("tokenizer"));
  writeRows(at("rows"), [
    [9, 4],
    [13, 5],
  ]);
});
afterEach(() => stream.close());

async function openLanes(lanes: number): Promise<TokenStream> {
  const names = readdirSync(join(at("rows"), "data")).sort();
  const paths = names.map((name) => join(at("rows"), "data", name));
  const files = filesAt(paths, counted).map((file) => ({ file }));
  const how = { context: CONTEXT, seed: 5, shuffled: 4, workers: 0, tokenizer: at("tokenizer") };
  return openTokenStream({ ...how, files, lanes });
}

const STEPS = 6;
const BATCH = 4;

/** Trains a new model. @returns losses of the steps */
async function trained(changes: Partial<FitOptions> = {}, change = (task: Task) => task): Promise<number[]> {
  const sizes = { n_layer: 1, n_embd: 8, n_head: 2, n_positions: CONTEXT, vocab_size: 280 };
  const model = createModel(gpt2, sizes, { seed: 1 });
  try {
    const events = await collect({
      model,
      task: change(languageTask({ model, windows: { stream, length: STEPS * BATCH } })),
      folder: at(`run-${runs++}`),
      ...{ seed: 3, length: { steps: STEPS }, batch: BATCH, microBatch: BATCH / stream.lanes },
      optimizer: { learningRate: 1e-2 },
      ...changes,
    });
    return events.flatMap((event) => (event.kind === "step" ? [event.loss] : []));
  } finally {
    model.dispose();
  }
}

/** Trains until a step in one run, which is then stopped. */
async function stopped(folder: string, step: number): Promise<number[]> {
  const stop = new AbortController();
  const run = async (now: { step: number }) => {
    if (now.step === step) stop.abort();
    return { test: { nll: 1 } };
  };
  return trained({ folder, signal: stop.signal, evaluation: { every: { steps: 1 }, run } });
}

test.each([1, 2])("a run with %p micro-batches a step that is stopped ends as one left alone", async (lanes) => {
  stream = await openLanes(lanes);
  const evaluation = { every: { steps: 1 }, run: async () => ({ test: { nll: 1 } }) };
  const whole = await trained({ evaluation });
  expect(new Set(whole).size).toBe(STEPS);
  for (const step of [1, 2, 5]) {
    const folder = at(`${lanes} stopped after ${step}`);
    const before = await stopped(folder, step);
    expect(before).toEqual(whole.slice(0, step));
    expect(await trained({ folder, evaluation })).toEqual(whole.slice(step));
  }
});

test("a run that is stopped while it waits for data ends with a checkpoint of the last step", async () => {
  stream = await openLanes(2);
  const whole = await trained();
  const folder = at("stopped while waiting");
  const stop = new AbortController();
  const waiting = (task: Task): Task => ({
    ...task,
    async read(items, place) {
      if (place.step === 3 && place.index === 1) {
        stop.abort();
        throw new Error("the request was given up", { cause: stop.signal.reason });
      }
      return task.read(items, place);
    },
  });
  expect(await trained({ folder, signal: stop.signal }, waiting)).toEqual(whole.slice(0, 3));
  expect(await trained({ folder })).toEqual(whole.slice(3));
});

test("each model begins the stream anew, and no file is open after a training or an error of one", async () => {
  stream = await openLanes(2);
  const first = await trained();
  expect(counted.open).toBe(0);
  expect(await trained()).toEqual(first);
  const evaluation = {
    every: { steps: 2 },
    run: async ({ step }: { step: number }) => {
      if (step < 2) return { test: { nll: 1 } };
      throw new Error("an evaluation that fails");
    },
  };
  await expect(trained({ evaluation })).rejects.toThrow("an evaluation that fails");
  expect(counted.open).toBe(0);
});

test.each([
  ["no", undefined],
  ["other", { first: { pass: 0 } }],
  ["broken", { 0: { pass: -1 } }],
])("a checkpoint with %s places in the data is refused in one line", async (title, data) => {
  stream = await openLanes(1);
  const folder = at(`places ${title}`);
  await trained({ folder });
  const path = join(folder, "checkpoint", nameOf(STEPS, "json"));
  const state = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...state, run: { ...state.run, data } }));
  const refused = trained({ folder });
  await expect(refused).rejects.toThrow(
    /^.*: the checkpoint of step 6 has no valid places in the data to go on from; [^\n]*$/,
  );
  await refused.catch((error) => expect(error.name).toBe("RunError"));
});
