// Real processes that pull: killed with SIGKILL at random moments until one is left to finish, and two at once. The
// snapshot is whole and the same byte for byte at the end, and never called whole before.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { pythonWith } from "../../python/python.ts";
import { bytesOf, type HostileHub, hostileHub } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";
import { filesIn, pullAll } from "./pulling.ts";

const folder = temporaryFolder();
const FILES = {
  "model-1.safetensors": bytesOf(900_000, 1),
  "model-2.safetensors": bytesOf(700_000, 2),
  "vocab.json": bytesOf(300_000, 3),
  "config.json": bytesOf(400, 4),
};
const TOTAL = Object.values(FILES).reduce((sum, { length }) => sum + length, 0);
let hub: HostileHub;
beforeAll(async () => {
  hub = await hostileHub(FILES);
  hub.fault = (what) => (what in FILES ? { slow: 4 } : undefined);
});
afterAll(() => hub.close());

const CHILD = path.join(import.meta.dirname, "pull-child.ts");

function startPull(cache: string, ...rest: string[]): ChildProcess & { text: () => string } {
  const child = spawn(process.execPath, [CHILD, hub.url, cache, ...rest], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (text += chunk));
  return Object.assign(child, { text: () => text });
}

async function expectWhole(cache: string): Promise<void> {
  const { pulled } = await pullAll({ endpoint: "http://127.0.0.1:64999", cache, offline: true });
  const contents = await filesIn(pulled.folder);
  expect([...contents.keys()]).toEqual(Object.keys(FILES).sort());
  for (const [name, bytes] of Object.entries(FILES)) {
    expect([name, Buffer.compare(contents.get(name) as Buffer, bytes)]).toEqual([name, 0]);
  }
  expect(readdirSync(`${cache}/models--x--y/blobs`).filter((name) => name.endsWith(".incomplete"))).toEqual([]);
}

test("a pull killed again and again goes on each time, and ends whole", async () => {
  const cache = folder("killed");
  hub.sent = 0;
  let kills = 0;
  for (let code: number | null = null; code !== 0; ) {
    const child = startPull(cache);
    const exit = once(child, "exit");
    // The first at any moment, the others once bodies are on their way, the last not at all.
    if (kills > 0) await bodiesFlow(child);
    const timer = setTimeout(() => child.kill("SIGKILL"), kills < 10 ? Math.random() * 150 : 60_000);
    [code] = await exit;
    clearTimeout(timer);
    if (code === 0) break;
    kills++;
    expect(child.signalCode).toBe("SIGKILL");
    await expectHonest(cache);
  }
  expect(kills).toBeGreaterThan(1);
  await expectWhole(cache);
  const resumed = hub.asked.filter(({ headers }) => headers.range !== undefined);
  expect(resumed.length).toBeGreaterThan(0);
  // Lost at each kill: what was on its way, a chunk or two a connection, never a whole file.
  expect(hub.sent).toBeLessThan(TOTAL + kills * 4 * 8 * 2 ** 14);
}, 60_000);

async function bodiesFlow(child: ChildProcess): Promise<void> {
  const before = hub.sent;
  while (hub.sent === before && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
}

const MISSING =
  /is not in the cache|does not know all of its files|the cache lacks \d of 4 files of commit c0ffee00 \([a-z0-9., -]+\): --offline/;

/** What is missing is named. A kill can also come when all is there; then it is whole to the byte. */
async function expectHonest(cache: string): Promise<void> {
  try {
    await pullAll({ endpoint: "http://127.0.0.1:64999", cache, offline: true });
  } catch (error) {
    expect((error as Error).message).toMatch(MISSING);
    return;
  }
  await expectWhole(cache);
}

test("two processes that pull the same at once share the work", async () => {
  const cache = folder("two");
  hub.sent = 0;
  const children = [startPull(cache), startPull(cache)];
  const codes = await Promise.all(children.map(async (child) => (await once(child, "exit"))[0]));
  expect(codes).toEqual([0, 0]);
  expect(children.map((child) => child.text()).join("")).toContain('"waiting"');
  expect(hub.sent).toBe(TOTAL);
  await expectWhole(cache);
}, 30_000);

test("the lock of a killed process holds nobody up", async () => {
  const cache = folder("stale");
  const child = startPull(cache);
  while (!existsSync(`${cache}/.locks/models--x--y`)) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill("SIGKILL");
  await once(child, "exit");
  const { events } = await pullAll({ endpoint: hub.url, cache });
  expect(events.filter(({ kind }) => kind === "waiting")).toEqual([]);
  await expectWhole(cache);
}, 30_000);

const python = pythonWith("fcntl");

test.skipIf(!python)("the lock is the one that Python's client takes", async () => {
  const cache = folder("python");
  const { pulled } = await pullAll({ endpoint: hub.url, cache });
  const [lock] = readdirSync(`${cache}/.locks/models--x--y`) as [string];
  const source = `import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(0.5)`;
  const holder = spawn(python as string, ["-c", source, `${cache}/.locks/models--x--y/${lock}`]);
  await once(holder.stdout, "data");
  await rm(`${cache}/models--x--y/blobs/${lock.replace(/\.lock$/, "")}`);
  const { events } = await pullAll({ endpoint: hub.url, cache });
  expect(events.filter(({ kind }) => kind === "waiting")).toHaveLength(1);
  expect(existsSync(pulled.folder)).toBe(true);
  await expectWhole(cache);
});
