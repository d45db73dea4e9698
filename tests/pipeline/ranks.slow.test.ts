// A recipe over two processes, with PyTorch's torchrun and with the environment that it sets: the rows of one process, also
// after a process was killed.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { buildState } from "../../native/build-state.ts";
import { freePort } from "../../workbench/cli/doctor/collect.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { ComparisonRow } from "../../workbench/report/index.ts";
import { environment } from "../distributed/start.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonWith } from "../python/python.ts";
import { timeless } from "./timeless.ts";
import { environmentOf, makeTinyHub, QUICK, RECIPE } from "./tiny-hub.ts";

const folder = temporaryFolder();
// Its torchrun has the options that are documented.
const torch = pythonWith("torch.uint64");
const state = buildState();
const PATIENCE = 240_000;
let place: { hub: string; work: string };
let alone: Partial<ComparisonRow>[];

if (state.state !== "built") console.log("recipes over processes are not tested: the native engine is not built");

const ARGS = [
  ...[...QUICK, "--engine", "torch", "--threads", "1", "--budget", "0.5", "--shrink", "budget"],
  ...["--compare", "lowrank", "--json"],
];

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

async function ended(command: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const child = Bun.spawn([...command], {
    cwd: place.work,
    env: { ...environmentOf(place), OMP_NUM_THREADS: "1", ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, stdout, stderr };
}

const rowsOf = ({ code, stdout, stderr }: Ended): Partial<ComparisonRow>[] => {
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  return timeless(JSON.parse(stdout).rows);
};

const commandOf = (run: string) => [process.execPath, RECIPE, ...ARGS, "--run", run];

type Rank = Bun.Subprocess<"ignore", "pipe", "pipe">;

/** Two ranks of a command. */
async function started(command: readonly string[]): Promise<[Rank, Rank]> {
  const port = await freePort();
  return [0, 1].map((rank) => {
    const env = { ...environmentOf(place), OMP_NUM_THREADS: "1", ...environment(rank, 2, port) };
    return Bun.spawn([...command], { cwd: place.work, env, stdout: "pipe", stderr: "pipe" });
  }) as [Rank, Rank];
}

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  place = { hub: await makeTinyHub(folder("hub")), work: folder("work") };
  mkdirSync(place.work);
  if (state.state === "built") alone = rowsOf(await ended(commandOf("alone")));
}, PATIENCE);

describe.skipIf(state.state !== "built")("a recipe over two processes", () => {
  test.skipIf(!torch)(
    "under torchrun has the rows of one process",
    async () => {
      const torchrun = [torch as string, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2"];
      const port = ["--master-port", `${await freePort()}`];
      expect(rowsOf(await ended([...torchrun, ...port, "--", ...commandOf("two")]))).toEqual(alone);
    },
    PATIENCE,
  );

  test(
    "ends when one of them is killed, with a line from the other, and goes on to the same rows",
    async () => {
      const begin = (...more: string[]) => started([...commandOf("killed"), ...more]);
      const [first, second] = await begin();
      const checkpoints = join(place.work, "killed/checkpoint");
      const isSaved = () => existsSync(checkpoints) && readdirSync(checkpoints).some((name) => name.endsWith(".json"));
      while (first.exitCode === null && !isSaved()) await setTimeout(5);
      second.kill("SIGKILL");
      expect(await new Response(first.stderr).text()).toMatch(
        /gpt2-wt103: rank 0 of 2: \w+ in (the checkpoint of )?step \d+ failed: another rank has ended; see the output/,
      );
      expect(await first.exited).toBe(1);
      // Whether moments are divided may change, and changes no number.
      const [again, other] = await begin("--shard-optimizer");
      const [stdout, stderr] = await Promise.all([again.stdout, again.stderr].map((out) => new Response(out).text()));
      expect(rowsOf({ code: await again.exited, stdout: stdout as string, stderr: stderr as string })).toEqual(alone);
      expect(await other.exited).toBe(0);
      expect(await new Response(other.stdout).text()).toBe("");
    },
    PATIENCE,
  );

  // A rank that went on waiting for the other one would wait for ten minutes.
  test.each([0, 400, 1200])(
    "ends on both at Ctrl-C, and on one that has not got it, %p ms after its start",
    async (moment) => {
      const calibrated = ["--init", "activation", "--allocate", "global", "--calibration-samples", "60"];
      for (const reached of [[0, 1], [0], [1]]) {
        const run = `interrupted-${moment}-${reached.join("-")}`;
        const ranks = await started([...commandOf(run), ...calibrated]);
        const [first] = ranks;
        while (first.exitCode === null && !existsSync(join(place.work, run, "run.json"))) await setTimeout(5);
        await setTimeout(moment);
        for (const rank of reached) ranks[rank as 0 | 1].kill("SIGINT");
        const codes = await Promise.all(ranks.map(({ exited }) => exited));
        for (const rank of [0, 1]) {
          if (reached.includes(rank)) expect({ run, rank, code: codes[rank] }).toEqual({ run, rank, code: 130 });
          // Told to end, stopped with the other, or left by it.
          else expect([0, 130, 1]).toContain(codes[rank] as number);
        }
      }
    },
    PATIENCE,
  );

  test(
    "ends on both with the reason of the first",
    async () => {
      const ranks = await started([...commandOf("alone"), "--seed", "8"]);
      const [first, second] = await Promise.all(ranks.map(({ stderr }) => new Response(stderr).text()));
      const reason =
        "alone was started with other settings: seed 1111 → 8; pass --fresh to start over, or give another --run\n";
      expect(first).toBe(`gpt2-wt103: ${reason}`);
      expect(second).toBe(`gpt2-wt103: rank 1 of 2 ends, because rank 0 has failed; ${reason}`);
      expect(await Promise.all(ranks.map(({ exited }) => exited))).toEqual([2, 1]);
    },
    PATIENCE,
  );
});
