// Processes on two hosts: their numbers are those of one machine at any rate of the network; a cable that is out for some
// seconds costs time only, and one that stays out ends both, with a line each.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { buildState } from "../../native/build-state.ts";
import { freePort } from "../../workbench/cli/doctor/collect.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonWith } from "../python/python.ts";
import { ADDRESSES, Hosts, whyNoHosts } from "./hosts.ts";
import { TcpProxy } from "./proxy.ts";
import type { RankTask } from "./rank.ts";
import { answerOf, STEPS, startRanks } from "./start.ts";
import type { TrainTask } from "./train-rank.ts";
import { workersOf } from "./workers.ts";

const PATIENCE = 240_000;
const at = temporaryFolder();
const trained = workersOf("train-rank.ts");
const why = buildState().state === "built" ? whyNoHosts() : "the native engine is not built";
if (why !== undefined) console.log(`processes on several hosts are not tested: ${why}`);

const SUMS = Array.from({ length: STEPS }, (_, i) => 3 * (i + 1));

/** Waits until rank 0 has made some steps. */
async function reached(progress: string, steps: number): Promise<void> {
  while (statSync(progress).size < steps) await setTimeout(20);
}

function stepsTask(name: string, timeout: number): RankTask & { progress: string } {
  const progress = at(name);
  writeFileSync(progress, "");
  return { what: "steps", timeout, progress };
}

describe.skipIf(why !== undefined)("two hosts", () => {
  let hosts: Hosts;
  beforeEach(() => {
    hosts = new Hosts();
  });
  afterEach(() => hosts.remove());

  test(
    "train to the numbers of one process, bit by bit, also over a slow network",
    async () => {
      const task = (folder: string): TrainTask => ({ folder: at(folder), changes: { microBatch: 6 }, timeout: 60 });
      const [alone] = (await trained(task("alone"), 0)) as [object];
      for (const rate of [undefined, "20mbit"]) {
        if (rate !== undefined) hosts.limit(rate);
        const [first, second] = await Promise.all(
          hosts.ranks("train-rank.ts", task(`${rate}`)).map((rank) => answerOf(rank) as Promise<{ numbers: unknown }>),
        );
        expect(first as object).toEqual(alone);
        expect(second?.numbers).toEqual(first?.numbers);
      }
    },
    PATIENCE,
  );

  test(
    "go on when the cable was out for three seconds",
    async () => {
      const task = stepsTask("interrupted", 60);
      const ranks = hosts.ranks("rank.ts", task).map(answerOf);
      await reached(task.progress, 5);
      hosts.cable("out");
      await setTimeout(3000);
      expect(statSync(task.progress).size).toBeLessThan(STEPS);
      hosts.cable("in");
      expect(await Promise.all(ranks)).toEqual([SUMS, SUMS]);
    },
    PATIENCE,
  );

  test(
    "end with a line each, within the timeout, when the cable stays out",
    async () => {
      const task = stepsTask("out", 12);
      const ranks = hosts.ranks("rank.ts", task).map(answerOf);
      await reached(task.progress, 5);
      hosts.cable("out");
      const began = performance.now();
      const found = (await Promise.all(ranks)) as { error: string }[];
      expect(performance.now() - began).toBeLessThan(60_000);
      for (const [rank, { error }] of found.entries()) {
        expect(error).toMatch(
          new RegExp(
            `^rank ${rank} of 2: allReduce in step \\d+ failed: another rank did not answer within 12 s; see `,
          ),
        );
      }
    },
    PATIENCE,
  );

  test(
    "say that they do not meet when one is not there",
    async () => {
      const [first, second] = hosts.ranks("rank.ts", stepsTask("missed", 5), { address: ADDRESSES[0], port: 29_501 });
      first?.kill("SIGKILL");
      const { error } = (await answerOf(second as NonNullable<typeof second>)) as { error: string };
      expect(error).toMatch(/^rank 1 of 2 did not meet the others at 10\.211\.0\.1:29501 within 5 s: /);
    },
    PATIENCE,
  );

  // torchrun of PyTorch 1 does not start two hosts without a rendezvous server.
  const python = pythonWith("torch.nn.attention");
  test.skipIf(!python)(
    "are what torchrun starts on each of them",
    async () => {
      const progress = at("torchrun");
      writeFileSync(progress, "");
      const task = JSON.stringify({ what: "steps", timeout: 60, progress } satisfies RankTask);
      const script = new URL("rank.ts", import.meta.url).pathname;
      const started = [0, 1].map((host) => {
        const meeting = [
          "--nnodes",
          "2",
          "--node_rank",
          `${host}`,
          "--master_addr",
          ADDRESSES[0],
          "--master_port",
          "29510",
        ];
        const run = [python as string, "-m", "torch.distributed.run", ...meeting, "--nproc_per_node", "1"];
        const network = { GLOO_SOCKET_IFNAME: "eth0" };
        return hosts.start(host, [...run, "--no_python", "--", process.execPath, script, task], network);
      });
      expect(await Promise.all(started.map(answerOf))).toEqual([SUMS, SUMS]);
    },
    PATIENCE,
  );
});

describe.skipIf(buildState().state !== "built")("a meeting point behind a proxy", () => {
  /** Ranks of this machine, of which the second one meets the first through a proxy. */
  async function throughProxy(
    name: string,
    use: (proxy: TcpProxy, listens: () => Promise<void>) => Promise<unknown>,
  ): Promise<unknown[]> {
    const task: RankTask & { progress: string } = { ...stepsTask(name, 30), what: "told" };
    const port = await freePort();
    const proxy = await new TcpProxy(port).listen();
    try {
      const ranks = (await startRanks("rank.ts", task, 2, [port, proxy.port])).map(answerOf);
      await use(proxy, () => reached(task.progress, 1));
      return await Promise.all(ranks);
    } finally {
      proxy.close();
    }
  }

  test(
    "may be slow",
    async () => {
      const slow = async (proxy: TcpProxy) => {
        proxy.delay = 50;
      };
      expect(await throughProxy("slow", slow)).toEqual(["said", "news"]);
    },
    PATIENCE,
  );

  test(
    "may be silent for some seconds",
    async () => {
      const silent = async (proxy: TcpProxy, listens: () => Promise<void>) => {
        await listens();
        proxy.stall(true);
        await setTimeout(3000);
        proxy.stall(false);
      };
      expect(await throughProxy("silent", silent)).toEqual(["said", "news"]);
    },
    PATIENCE,
  );

  test(
    "ends the process whose connection is cut, with a line",
    async () => {
      const cut = async (proxy: TcpProxy, listens: () => Promise<void>) => {
        await listens();
        proxy.cut();
      };
      const [first, second] = await throughProxy("cut", cut);
      expect(first).toBe("said");
      expect((second as { error: string }).error).toMatch(
        /^rank 1 of 2: told in a talk failed: [^\n]*; see the output/,
      );
    },
    PATIENCE,
  );
});
