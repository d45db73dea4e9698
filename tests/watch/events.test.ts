// The events of `gblr watch` as a page gets them, while runs are written, resumed and started anew; and who may ask.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFile, mkdir, rm, writeFile } from "node:fs/promises";
import { startRun, updateRun } from "../../workbench/report/index.ts";
import { MetricsFile } from "../../workbench/train/metrics.ts";
import { serveRuns } from "../../workbench/watch/index.ts";
import type { Listening } from "../../workbench/web/listen.ts";
import { eventsOf } from "../../workbench/web/page/api.js";
import { temporaryFolder } from "../hub/temporary.ts";
import { facts, metricLines } from "../report/example-run.ts";

const at = temporaryFolder();
const LINES = metricLines({ steps: 40, depth: 1, width: 16, blocks: 4 });
let served: Listening;

beforeAll(async () => {
  served = await serveRuns({ runs: [at("a"), at("b")], interval: 20 });
});
afterAll(() => served.close());

interface Told {
  kind: string;
  run?: number;
  runs?: string[];
  state?: Record<string, unknown>;
  lines?: { step: number }[];
}

/** A page that is open: its events, one after the other. */
async function opened(url = served.url, init: RequestInit = {}) {
  const gone = new AbortController();
  const response = await fetch(`${url}/events`, { ...init, signal: gone.signal });
  const events = eventsOf(response) as AsyncGenerator<Told>;
  const next = async (): Promise<Told> => (await events.next()).value as Told;
  return {
    response,
    next,
    /** The steps of the metrics of a run, until there are so many. */
    async steps(count: number): Promise<number[]> {
      const found: number[] = [];
      while (found.length < count) {
        const { kind, lines = [] } = await next();
        if (kind !== "metrics") throw new Error(`an event of kind ${kind} came in between`);
        found.push(...lines.map(({ step }) => step));
      }
      return found;
    },
    close: () => gone.abort(),
  };
}

const textOf = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

test("a run is told from its first line on, and each line once while it writes", async () => {
  const page = await opened();
  expect(page.response.headers.get("content-type")).toStartWith("text/event-stream");
  expect(await page.next()).toEqual({ kind: "runs", runs: [at("a"), at("b")] });
  expect(await page.next()).toEqual({ kind: "state", run: 0, state: { exists: false } });
  expect(await page.next()).toEqual({ kind: "state", run: 1, state: { exists: false } });

  await startRun(at("a"), facts());
  const { state } = await page.next();
  expect(state).toMatchObject({ exists: true, name: "gpt2-mini at 43.75 %", status: "running", steps: 1000 });

  const text = textOf(LINES);
  await writeFile(`${at("a")}/metrics.jsonl`, text.slice(0, 1000));
  const half = LINES.filter((_, i) => textOf(LINES.slice(0, i + 1)).length <= 1000).map(({ step }) => step);
  expect(await page.steps(half.length)).toEqual(half);
  await appendFile(`${at("a")}/metrics.jsonl`, text.slice(1000));
  expect(await page.steps(LINES.length - half.length)).toEqual(LINES.slice(half.length).map(({ step }) => step));

  await updateRun(at("a"), { status: "finished" });
  expect(await page.next()).toMatchObject({ kind: "state", run: 0, state: { status: "finished" } });
  page.close();
});

test("a run that is resumed from a checkpoint, as training does it, is told anew", async () => {
  const path = `${at("b")}/metrics.jsonl`;
  const first = await MetricsFile.open(path, 0);
  for (const line of LINES.slice(0, 10)) await first.append(line);
  const checkpoint = first.length;
  for (const line of LINES.slice(10, 20)) await first.append(line);
  await first.close();
  const page = await opened();
  for (let event = await page.next(); event.run !== 1 || event.kind !== "metrics"; event = await page.next());

  const resumed = await MetricsFile.open(path, checkpoint);
  for (const line of LINES.slice(10, 30)) await resumed.append({ ...line, seconds: line.seconds + 1000 });
  await resumed.close();
  const told: number[] = [];
  for (let event = await page.next(); told.length < 30; event = await page.next()) {
    // Between two looks the file may have been cut off only.
    if (event.kind === "restarted") told.length = 0;
    else told.push(...(event.lines ?? []).map(({ step }) => step));
    if (told.length >= 30) break;
  }
  expect(told).toEqual(LINES.slice(0, 30).map(({ step }) => step));

  await rm(at("b"), { recursive: true });
  expect(await page.next()).toEqual({ kind: "state", run: 1, state: { exists: false } });
  expect(await page.next()).toEqual({ kind: "restarted", run: 1 });
  page.close();
});

test("damaged files are told as problems, and lines that are no metrics are left out", async () => {
  await mkdir(at("broken"));
  await writeFile(`${at("broken")}/run.json`, "{");
  await writeFile(`${at("broken")}/metrics.jsonl`, `nonsense\n{"kind":"step"}\n${textOf(LINES.slice(0, 1))}`);
  const own = await serveRuns({ runs: [at("broken")], interval: 20 });
  const page = await opened(own.url);
  await page.next();
  expect(await page.next()).toMatchObject({
    state: { exists: true, problem: "run.json is left out: it is not JSON." },
  });
  expect((await page.next()).lines).toHaveLength(1);
  page.close();
  await own.close();
});

test("a server with a key tells runs only to those who have it, and gives the page to all", async () => {
  const guarded = await serveRuns({ runs: [at("a")], key: "secret", interval: 20 });
  expect((await fetch(`${guarded.url}/events`)).status).toBe(401);
  const page = await opened(guarded.url, { headers: { Authorization: "Bearer secret" } });
  expect((await page.next()).kind).toBe("runs");
  page.close();
  expect((await fetch(`${guarded.url}/`)).status).toBe(200);
  await guarded.close();
});

test("web pages of other origins and names get nothing", async () => {
  const own = await serveRuns({ runs: [at("a")], loopbackOnly: true });
  const asked = await fetch(`${own.url}/`, { headers: { Origin: "http://evil.test" } });
  expect(asked.headers.get("access-control-allow-origin")).toBeNull();
  expect((await fetch(`${own.url}/events`, { headers: { Host: "evil.test" } })).status).toBe(421);
  await own.close();
});

test("the server ends although pages are open", async () => {
  const own = await serveRuns({ runs: [at("a")], interval: 20 });
  const page = await opened(own.url);
  await page.next();
  await own.close();
  expect(await fetch(own.url).catch(() => "refused")).toBe("refused");
});
