// Runs in processes of their own, killed with SIGKILL at random moments and started again until they end: what is on the
// disk then is what a run left alone leaves, bit by bit. And one whose disk is full.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { ENGINES } from "../engine/engines.ts";
import { timelessMetrics } from "./runs.ts";

const CHILD = join(import.meta.dirname, "child.ts");
const LAST = "step-0000000024.safetensors";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "kill-"));
});
afterAll(() => rm(root, { recursive: true }));

interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  lines: string[];
  errors: string;
}

/** @param patience lines after which it is killed, within so many milliseconds; undefined: never */
function run(args: string[], patience?: { lines: number; milliseconds: number }): Promise<Ending> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CHILD, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let [output, errors, doomed] = ["", "", false];
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (!patience || doomed || output.split("\n").length <= patience.lines) return;
      doomed = true;
      setTimeout(() => child.kill("SIGKILL"), patience.milliseconds);
    });
    child.on("close", (code, signal) => {
      resolve({ code, signal, lines: output.split("\n").slice(0, -1), errors });
    });
  });
}

const names = ENGINES.filter(({ options }) => options.device === "cpu").map(({ name }) => name);

/** Number of trained tensors: of the small model, and of adapters of its three matrices. */
const RUNS = [
  { of: "all parameters", args: [], learned: 8 },
  { of: "adapters", args: ["lora"], learned: 6 },
];

for (const { engine, of, args, learned } of (["torch", "wasm"] as const).flatMap((engine) =>
  RUNS.map((each) => ({ engine, ...each })),
)) {
  test.skipIf(!names.includes(engine))(
    `killed at random moments and resumed, a run of ${of} on ${engine} ends as one left alone, bit by bit`,
    async () => {
      const [alone, killed] = ["alone", "killed"].map((end) => join(root, `${engine}-${of}-${end}`)) as [
        string,
        string,
      ];
      expect(await run([engine, alone, ...args])).toMatchObject({ code: 0, errors: "" });
      let [kills, resumed] = [0, 0];
      for (;;) {
        // longer each time, so that it ends
        const patience = { lines: 1 + Math.floor(Math.random() * (14 + 3 * kills)), milliseconds: Math.random() * 12 };
        const { code, signal, lines, errors } = await run([engine, killed, ...args], patience);
        expect(errors).toBe("");
        if (lines[0] === "resumed") resumed++;
        if (code === 0 && kills > 0) break;
        // A run that ended before it could be killed shows nothing.
        if (code === 0) await rm(killed, { recursive: true });
        else {
          expect(signal).toBe("SIGKILL");
          kills++;
        }
      }
      console.log(`${engine}, ${of}: killed ${kills} times, resumed from a checkpoint ${resumed} times`);
      expect(await timelessMetrics(killed)).toEqual(await timelessMetrics(alone));
      const [expected, actual] = await Promise.all(
        [alone, killed].map((folder) => readFile(join(folder, "checkpoint", LAST))),
      );
      expect(actual?.equals(expected as Buffer)).toBe(true);
      const tensors = await readSafetensors(join(killed, "checkpoint", LAST));
      expect([...tensors.keys()].filter((name) => name.startsWith("second/")).length).toBe(learned);
      // two checkpoints of two files each; what killed writers left behind is gone
      expect((await readdir(join(killed, "checkpoint"))).length).toBe(4);
    },
    120_000,
  );
}

// A limit on the size of files is the full disk that a test can have: writes beyond it fail as those do.
const limited = spawnSync("bash", ["-c", "trap '' XFSZ; ulimit -f 1"]).status === 0;

test.skipIf(!limited)("stops in one line when the disk is full, and leaves no half of a checkpoint", async () => {
  const folder = join(root, "full");
  // 4 kB: the metrics of a few steps fit, a checkpoint of 9 kB does not
  const command = `trap '' XFSZ; ulimit -f 4; exec "$0" "$@"`;
  const { status, stdout, stderr } = spawnSync("bash", ["-c", command, process.execPath, CHILD, "cpu", folder]);
  expect(stderr.toString()).toMatch(
    /^RunError: the checkpoint of step 2 cannot be saved: \S+step-0000000002\.safetensors: cannot be written: [^\n]+; free disk space and resume from the previous checkpoint\n$/,
  );
  expect(status).toBe(1);
  expect(stdout.toString().trimEnd().split("\n")).toEqual(["started", "evaluation", "structure", "step", "step"]);
  expect(await readdir(join(folder, "checkpoint"))).toEqual([]);
  expect(await timelessMetrics(folder)).toHaveLength(4);
});
