// Valid model folders changed in one place, two thousand times from a seed: each is refused in one line that names what is
// wrong, or computes what the file says, by an evaluation of its own from the text of docs/format.md. Python's reader
// takes and refuses the same.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { someImages } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python/python.ts";
import { type Base, logitsIn, makeBases } from "./mutated/bases.ts";
import { denseModel } from "./mutated/evaluate.ts";
import { encodeTensors, type RawFolder } from "./mutated/files.ts";
import { type Mutation, mutate, Random } from "./mutated/mutate.ts";
import { ids } from "./tiny.ts";

const COUNT = 2000;
/** Every so many of them is shown to Python. */
const ASKED = 25;

const at = temporaryFolder();
const torch = pythonWith("torch");
let bases: Base[];

type Form = "auto" | "trainable";

interface Outcome extends Mutation {
  kind: string;
  folder: string;
  size: number | undefined;
  form: Form;
  logits?: Float32Array;
  /** of inputs, where the model does not take them */
  failure?: string;
  refusal?: string;
  /** the files hold numbers that leave float32 where they are added, how many depends on the order */
  unruly?: boolean;
}

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  bases = await makeBases((name) => at("bases", name.replaceAll(/\W+/g, "-")));
}, PATIENCE);

const fresh = ({ config, model, trainable }: Base): RawFolder => ({
  config: structuredClone(config),
  model: model.map((tensor) => ({ ...tensor })),
  trainable: trainable?.map((tensor) => ({ ...tensor })),
  raw: new Map(),
});

const FILES = { model: "model.safetensors", trainable: "trainable.safetensors" } as const;

function write(folder: string, { config, configText, model, trainable, raw }: RawFolder) {
  mkdirSync(folder, { recursive: true });
  const files = {
    config: configText ?? JSON.stringify(config),
    model: raw.get(FILES.model) ?? encodeTensors(model),
    trainable: trainable && (raw.get(FILES.trainable) ?? encodeTensors(trainable)),
  };
  writeFileSync(path.join(folder, "config.json"), files.config);
  writeFileSync(path.join(folder, FILES.model), files.model);
  if (files.trainable) writeFileSync(path.join(folder, FILES.trainable), files.trainable);
  return files;
}

async function outcomeOf(
  folder: string,
  size: number | undefined,
  form: Form,
): Promise<Pick<Outcome, "logits" | "failure" | "refusal">> {
  try {
    return await logitsIn(folder, size, form);
  } catch (error) {
    return { refusal: (error as Error).message };
  }
}

/** What is wrong with a refusal: it must be a line about the folder that names what was changed. */
function faultOf({ refusal = "", folder, names }: Outcome): string | undefined {
  if (refusal.includes("\n")) return "more than one line";
  if (!refusal.startsWith(folder)) return "does not begin with the file";
  if (names.length === 0 || names.some((name) => name !== "" && refusal.includes(name))) return undefined;
  // A tensor without a name; one that is missing, which Python knows by timm's name only.
  if (/tensor "(": |\S+": is missing from the files)/.test(refusal)) return undefined;
  return `names none of ${names.join(", ")}`;
}

function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const scale = Math.max(1, ...Array.from(b, Math.abs));
  return Math.max(...Array.from(b, (value, i) => Math.abs(value - (a[i] as number)))) / scale;
}

const areFinite = (values: ArrayLike<number>): boolean => Array.from(values).every(Number.isFinite);

/** Of a folder that was taken: how its numbers differ from those of the dense model that it stands for. */
async function deviationOf(outcome: Outcome, base: Base, files: ReturnType<typeof write>): Promise<string | undefined> {
  const { logits = [], failure, form, size } = outcome;
  const trainable = form === "trainable" ? files.trainable : undefined;
  const { kernels } = base;
  let dense: ReturnType<typeof denseModel>;
  try {
    dense = denseModel({ ...files, trainable }, { turned: base.config.model_type === "gpt2", kernels });
  } catch (error) {
    return `taken, although ${(error as Error).message}`;
  }
  const folder = at("dense");
  write(folder, { config: dense.config, model: dense.tensors, trainable: undefined, raw: new Map() });
  const truth = await outcomeOf(folder, size, "auto");
  if (failure !== undefined && truth.failure === failure) return undefined;
  if (!truth.logits || failure !== undefined)
    return `taken, although the dense model is not: ${failure} and ${truth.failure ?? truth.refusal}`;
  outcome.unruly = !areFinite(truth.logits) || dense.largest > 1e6;
  if (outcome.unruly) return undefined;
  const smooth = (base.config.gblr as { sigma?: number }).sigma !== undefined && trainable !== undefined;
  const apart = furthest(logits, truth.logits);
  return apart < (smooth ? 5e-3 : 1e-4) ? undefined : `computes other numbers, ${apart} apart`;
}

test("the folders that mutations start from compute what they say", async () => {
  for (const base of bases) {
    for (const form of base.trainable ? (["auto", "trainable"] as const) : (["auto"] as const)) {
      const folder = at("whole");
      const files = write(folder, fresh(base));
      const own = { ...(await outcomeOf(folder, base.size, form)), folder, size: base.size, form };
      expect(own.refusal).toBeUndefined();
      expect(Math.max(...Array.from(own.logits ?? [], Math.abs))).toBeGreaterThan(0.1);
      expect(await deviationOf({ ...own, kind: "", what: "", names: [] }, base, files)).toBeUndefined();
      rmSync(folder, { recursive: true });
    }
  }
});

describe("a folder changed in one place", () => {
  const asked: Outcome[] = [];

  test(
    `${COUNT} times, is refused by name or computes what it says`,
    async () => {
      const faults: string[] = [];
      const counts = { taken: 0, refused: 0 };
      for (let i = 0; i < COUNT; i++) {
        const random = new Random(i);
        const base = random.pick(bases);
        const form = base.trainable && random.below(2) === 0 ? "trainable" : "auto";
        const raw = fresh(base);
        const mutation = mutate(raw, random);
        const folder = at("mutated", String(i));
        const files = write(folder, raw);
        const { size } = base;
        const before = tf.memory().numTensors;
        const outcome: Outcome = { ...mutation, ...(await outcomeOf(folder, size, form)), folder, size, form };
        const isTaken = outcome.refusal === undefined;
        const left = isTaken ? 0 : tf.memory().numTensors - before;
        const fault = isTaken ? await deviationOf(outcome, base, files) : faultOf(outcome);
        if (left > 0) faults.push(`${i}: ${left} tensors are left`);
        counts[isTaken ? "taken" : "refused"]++;
        if (fault) faults.push(`${i} ${base.name} ${form}: ${outcome.what}: ${fault}: ${outcome.refusal ?? "taken"}`);
        if (i % ASKED === 0 && mutation.kind !== "changeModelField") asked.push(outcome);
        else rmSync(folder, { recursive: true });
      }
      expect(faults).toEqual([]);
      expect(counts.taken).toBeGreaterThan(COUNT / 20);
      expect(counts.refused).toBeGreaterThan(COUNT / 2);
    },
    PATIENCE,
  );

  test.skipIf(!torch)(
    "is taken and refused by Python's reader alike, with the same numbers",
    async () => {
      const images = Object.fromEntries(
        [...new Set(asked.flatMap(({ size }) => size ?? []))].map((size) => [
          size,
          tf.tidy(() => [...someImages(1, size).dataSync()]),
        ]),
      );
      const cases = asked.map(({ folder, size, form }) => ({ folder, size: size ?? null, form }));
      const input = JSON.stringify({ ids: tf.tidy(() => [...ids(1, 9).dataSync()]), images, cases });
      const answers = await askPython<{ logits?: number[]; refusal?: string }[]>(torch, "folder_logits.py", {
        args: [SOURCES],
        input,
      });
      expect(answers.length).toBeGreaterThan(48);
      const faults = answers.flatMap(({ logits, refusal }, i) => {
        const own = asked[i] as Outcome;
        const label = `${own.folder} ${own.form}: ${own.what}: `;
        if ((logits === undefined) !== (own.logits === undefined)) {
          return [`${label}Python: ${refusal ?? "taken"}; we: ${own.refusal ?? "taken"}`];
        }
        if (refusal !== undefined) {
          const fault = faultOf({ ...own, refusal });
          return fault ? [`${label}Python: ${fault}: ${refusal}`] : [];
        }
        if (own.unruly) return [];
        const apart = furthest(logits as number[], own.logits as Float32Array);
        return apart < 1e-3 ? [] : [`${label}${apart} apart`];
      });
      expect(faults).toEqual([]);
    },
    PATIENCE,
  );
});
