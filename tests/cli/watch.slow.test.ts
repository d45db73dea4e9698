// `gblr watch` as a user runs it, under Bun, Deno and Node: what it prints and serves, how it ends, and which command lines
// it does not take.

import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { startRun } from "../../workbench/report/index.ts";
import { eventsOf } from "../../workbench/web/page/api.js";
import { temporaryFolder } from "../hub/temporary.ts";
import { facts, metricLines } from "../report/example-run.ts";
import { GBLR, isPresent, ROOT, RUNTIMES } from "./runtimes.ts";

const at = temporaryFolder();
const PATIENCE = 120_000;
const [FIRST, SECOND] = metricLines({ steps: 2, depth: 1, width: 8, blocks: 2 }).filter(({ kind }) => kind === "step");

for (const runtime of Object.keys(RUNTIMES)) {
  test.skipIf(!isPresent(runtime))(
    `shows runs while they write, and ends at SIGTERM: ${runtime}`,
    async () => {
      const folder = at(runtime);
      await startRun(folder, facts());
      await writeFile(`${folder}/metrics.jsonl`, `${JSON.stringify(FIRST)}\n`);
      const [program, ...before] = RUNTIMES[runtime] as readonly [string, ...string[]];
      const child = spawn(program, [...before, GBLR, "watch", folder, at("later"), "--port", "0", "--json"], {
        cwd: ROOT,
      });
      const exited = once(child, "exit");
      const [line] = (await once(createInterface(child.stdout), "line")) as [string];
      const { url, runs } = JSON.parse(line) as { url: string; runs: string[] };
      expect(runs).toEqual([folder, at("later")]);
      expect(await (await fetch(`${url}/`)).text()).toContain("<title>gblr watch</title>");

      const gone = new AbortController();
      const events = eventsOf(await fetch(`${url}/events`, { signal: gone.signal }));
      const metrics = async (): Promise<unknown> => {
        for (let event = await events.next(); ; event = await events.next()) {
          if (event.value.kind === "metrics") return event.value.lines;
        }
      };
      expect(await metrics()).toEqual([FIRST]);
      await appendFile(`${folder}/metrics.jsonl`, `${JSON.stringify(SECOND)}\n`);
      expect(await metrics()).toEqual([SECOND]);
      child.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      gone.abort();
    },
    PATIENCE,
  );
}

function refused(...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, "watch", ...args], {
    env: { ...process.env, GBLR_API_KEY: "" },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("lets nobody in from outside without a key, and takes no run twice", () => {
  expect(refused("run", "--host", "0.0.0.0")).toEqual({
    code: 2,
    stdout: "",
    stderr: "gblr: --host 0.0.0.0 is reachable from other machines; set a key with --api-key or GBLR_API_KEY\n",
  });
  expect(refused("run", "run")).toMatchObject({ code: 2, stderr: "gblr: run is named twice\n" });
  expect(refused()).toMatchObject({ code: 2, stderr: "gblr: missing required argument 'runs'\n" });
});

test("says which address it cannot use", async () => {
  const taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  expect(refused("run", "--port", String(taken.port))).toEqual({
    code: 1,
    stdout: "",
    stderr: `gblr: 127.0.0.1:${taken.port} cannot be listened on: EADDRINUSE\n`,
  });
  await taken.stop(true);
});
