// Verbs that two processes share, started with the environment of torchrun: the first one prints and writes what one
// process does, and the other one nothing.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "../../hub/safetensors/index.ts";
import { buildState } from "../../native/build-state.ts";
import { addConvert } from "../../workbench/cli/convert.ts";
import { freePort } from "../../workbench/cli/doctor/collect.ts";
import { addEval } from "../../workbench/cli/eval.ts";
import type { AddVerb } from "../../workbench/cli/shared/program.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit } from "../architectures/small-vision.ts";
import { madeImages } from "../data/images/made-images.ts";
import { environment } from "../distributed/start.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { environmentOf, GBLR, makeTinyHub } from "../pipeline/tiny-hub.ts";
import { runVerb } from "./in-process.ts";

const folder = temporaryFolder();
const PATIENCE = 240_000;
const state = buildState();
if (state.state !== "built") console.log("verbs over processes are not tested: the native engine is not built");
let hub: string;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  hub = await makeTinyHub(folder("hub"));
}, PATIENCE);

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** What the processes of a command print; `size` 1 is one process without ranks. */
async function ended(args: readonly string[], size: number, work: string): Promise<Ended[]> {
  mkdirSync(work, { recursive: true });
  const port = await freePort();
  const ranks = Array.from({ length: size }, (_, rank) =>
    Bun.spawn([process.execPath, GBLR, ...args, "--engine", "torch", "--threads", "1"], {
      cwd: work,
      env: { ...environmentOf({ hub, work }), ...(size > 1 && environment(rank, size, port)) },
      stdout: "pipe",
      stderr: "pipe",
    }),
  );
  return Promise.all(
    ranks.map(async (rank) => {
      const [stdout, stderr] = await Promise.all([rank.stdout, rank.stderr].map((out) => new Response(out).text()));
      return { code: await rank.exited, stdout: stdout as string, stderr: stderr as string };
    }),
  );
}

/** What an evaluation has printed with --json, without times. */
function numbers({ stdout, stderr }: Ended) {
  if (stdout === "") throw new Error(stderr);
  const { seconds: _, tokensPerSecond: __, imagesPerSecond: ___, ...rest } = JSON.parse(stdout);
  return rest;
}

async function openedNames(path: string): Promise<string[]> {
  const file = await openSafetensors(path);
  await file.close();
  return [...file.tensors.keys()].toSorted();
}

const CALIBRATED = ["--calibrate", "tiny/stories", "--calibrate-samples", "4"];
// A search for blocks, which takes longer, is shared in tests/distributed/conversion.test.ts.
const NEAREST = ["--structure", "gblr", "--budget", "0.8", "--init", "activation"];
const CONVERT = ["convert", "tiny/gpt2", ...NEAREST, ...CALIBRATED];

/** What a verb prints in this process, which is a rank of two, and refuses its work before it meets the other one. */
async function refused(add: AddVerb, args: readonly string[], rank: number, more: Record<string, string> = {}) {
  const launcher = { ...environment(rank, 2, 1), ...more };
  Object.assign(process.env, launcher);
  try {
    return await runVerb(add, args);
  } finally {
    for (const name of Object.keys(launcher)) delete process.env[name];
  }
}

test(
  "a time to wait that the clocks of sockets do not have is refused before anything is opened",
  async () => {
    for (const seconds of ["1e10", "0.001", "soon"]) {
      const args = ["eval", "ppl", "no-model", "--dataset", "none"];
      const { code, stderr } = await refused(addEval, args, 0, { GBLR_RANKS_TIMEOUT: seconds });
      const problem = `gblr: GBLR_RANKS_TIMEOUT is "${seconds}"; give a number of seconds from 1 to 31536000\n`;
      expect({ code, stderr }).toEqual({ code: 2, stderr: problem });
    }
  },
  PATIENCE,
);

test("a backend of collectives that does not exist is refused", async () => {
  const args = ["eval", "ppl", "no-model", "--dataset", "none"];
  const { code, stderr } = await refused(addEval, args, 0, { GBLR_RANKS_BACKEND: "mpi" });
  expect({ code, stderr }).toEqual({ code: 2, stderr: 'gblr: GBLR_RANKS_BACKEND is "mpi"; give gloo or nccl\n' });
});

describe.skipIf(state.state !== "built")("over two processes", () => {
  test(
    "gblr convert writes a model of the same kind as one process, with the same errors",
    async () => {
      const args = [...CONVERT, "--json", "--out", "model"];
      const [alone] = (await ended(args, 1, folder("alone"))) as [Ended];
      const [first, second] = (await ended(args, 2, folder("two"))) as [Ended, Ended];
      expect([alone.code, first.code]).toEqual([0, 0]);
      expect(second).toEqual({ code: 0, stdout: "", stderr: "" });
      const errors = ({ stdout }: Ended): number[] =>
        JSON.parse(stdout).layers.map((layer: { outputError: number }) => layer.outputError);
      expect(errors(first).length).toBeGreaterThan(2);
      // Covariances are added up in another order.
      for (const [i, error] of errors(first).entries()) expect(error / (errors(alone)[i] as number)).toBeCloseTo(1, 1);
      const header = (work: string) => openedNames(join(folder(work), "model", "model.safetensors"));
      expect(await header("two")).toEqual(await header("alone"));
      expect(readdirSync(folder("two")).toSorted()).toEqual(readdirSync(folder("alone")).toSorted());
    },
    PATIENCE,
  );

  test(
    "gblr eval ppl prints the perplexity of one process",
    async () => {
      const args = ["eval", "ppl", "tiny/gpt2", "--dataset", "tiny/stories", "--batch", "1", "--json"];
      const [alone] = (await ended(args, 1, folder("alone"))) as [Ended];
      const [first, second] = (await ended(args, 2, folder("two"))) as [Ended, Ended];
      expect(second).toEqual({ code: 0, stdout: "", stderr: "" });
      expect(numbers(first)).toEqual(numbers(alone));
      expect(numbers(first).windows).toBeGreaterThan(2);
    },
    PATIENCE,
  );

  test(
    "gblr eval acc prints the accuracy of one process, and the images that either one has skipped",
    async () => {
      const made = smallVit();
      await saveModelNow(made as never, folder("vit"), {});
      made.dispose();
      const { dataset, nameOf } = await madeImages(folder("images"), { count: 15, classes: 5 });
      // One image of each process, with batches of 4.
      for (const i of [2, 6]) writeFileSync(nameOf(i), "not an image");
      const args = [
        "eval",
        "acc",
        folder("vit"),
        "--dataset",
        dataset,
        "--split",
        "train",
        "--batch",
        "4",
        "--skip-bad",
      ];
      const [alone] = (await ended([...args, "--json"], 1, folder("alone"))) as [Ended];
      const work = folder("two");
      const shared = await ended([...args, "--json", "--results", "results.json", "--report", "report"], 2, work);
      const [first, second] = shared as [Ended, Ended];
      expect(second).toEqual({ code: 0, stdout: "", stderr: "" });
      expect(numbers(first)).toEqual(numbers(alone));
      expect(numbers(first)).toMatchObject({ images: 13, skipped: 2 });
      expect(numbers(first).skippedImages).toHaveLength(2);
      expect(JSON.parse(readFileSync(join(work, "results.json"), "utf8")).rows[0].metrics.top1).toBe(
        numbers(first).top1,
      );
      expect(readdirSync(join(work, "report"))).toContain("report.html");
    },
    PATIENCE,
  );

  test(
    "gblr convert --check is refused",
    async () => {
      const args = [...CONVERT, "--check", "tiny/stories", "--out", "checked"];
      for (const rank of [0, 1]) {
        const { code, stderr } = await refused(addConvert, args, rank);
        expect({ code, stderr }).toEqual({
          code: 2,
          stderr: expect.stringContaining("--check works in one process only; start one"),
        });
      }
    },
    PATIENCE,
  );
});
