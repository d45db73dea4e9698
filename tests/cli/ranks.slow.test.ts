// Verbs that two processes share, started with the environment of torchrun: the first one prints and writes what one
// process does, and the other one nothing.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildState } from "../../native/build-state.ts";
import { freePort } from "../../workbench/cli/doctor/collect.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { environment } from "../distributed/start.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { environmentOf, GBLR, makeTinyHub } from "../pipeline/tiny-hub.ts";

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

const CALIBRATED = ["--calibrate", "tiny/stories", "--calibrate-samples", "4"];
const CONVERT = ["convert", "tiny/gpt2", "--structure", "gblr", "--budget", "0.8", "--init", "search", ...CALIBRATED];

describe.skipIf(state.state !== "built")("over two processes", () => {
  test(
    "gblr convert writes the model of one process",
    async () => {
      const args = [...CONVERT, "--search-steps", "60", "--json", "--out", "model"];
      const [alone] = (await ended(args, 1, folder("alone"))) as [Ended];
      const [first, second] = (await ended(args, 2, folder("two"))) as [Ended, Ended];
      expect([alone.code, first.code]).toEqual([0, 0]);
      expect(second).toEqual({ code: 0, stdout: "", stderr: "" });
      const errors = ({ stdout }: Ended) => JSON.parse(stdout).layers.map((layer: { error: number }) => layer.error);
      expect(errors(first)).toEqual(errors(alone));
      for (const name of ["model.safetensors", "trainable.safetensors"]) {
        const [one, two] = ["alone", "two"].map((work) => readFileSync(join(folder(work), "model", name)));
        expect(Buffer.compare(one as Buffer, two as Buffer)).toBe(0);
      }
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
      const numbers = ({ stdout, stderr }: Ended) => {
        if (stdout === "") throw new Error(stderr);
        const { seconds: _, tokensPerSecond: __, ...rest } = JSON.parse(stdout);
        return rest;
      };
      expect(numbers(first)).toEqual(numbers(alone));
      expect(numbers(first).windows).toBeGreaterThan(2);
    },
    PATIENCE,
  );

  test(
    "gblr convert --check is refused",
    async () => {
      const args = [...CONVERT, "--check", "tiny/stories", "--out", "checked"];
      for (const { code, stderr } of await ended(args, 2, folder("two"))) {
        expect({ code, stderr }).toEqual({
          code: 2,
          stderr: expect.stringContaining("--check works in one process only; start one"),
        });
      }
    },
    PATIENCE,
  );
});
