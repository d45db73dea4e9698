// Pushes through a proxy that breaks connections, loses answers and says that the server is busy; pushes that are
// stopped and begun again. What arrives is whole, once, and parts that were there are not sent again.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { listCommits } from "@huggingface/hub";
import { type PushEvent, push } from "../../../hub/push/index.ts";
import { type ServedHub, serveHub } from "../../../hub/serve/index.ts";
import { bytesOf, sha256 } from "../hostile-server.ts";
import { failureOf, filesIn, HASTY, pullAll } from "../pull/pulling.ts";
import { type Fault, faultyProxy } from "../serve/faulty-proxy.ts";
import { temporaryFolder } from "../temporary.ts";

const folder = temporaryFolder();
const TOKEN = "hf_tokenofthebrokenpushes";
const FILES = {
  "config.json": bytesOf(500, 2),
  "model-1.safetensors": bytesOf(3_000_000, 3),
  "model-2.safetensors": bytesOf(400_000, 4),
  "vocab.json": bytesOf(90_000, 5),
};
let hub: ServedHub;
beforeAll(async () => {
  mkdirSync(folder("served"));
  mkdirSync(folder("model"));
  for (const [name, bytes] of Object.entries(FILES)) writeFileSync(folder("model", name), bytes);
  hub = await serveHub({ folder: folder("served"), token: TOKEN });
});
afterAll(() => hub.close());

const named = (id: string) => ({ type: "model", id, revision: "main" }) as const;
const PATIENT = { ...HASTY, attempts: 12, stallMs: 2000 };

async function expectArrived(id: string): Promise<void> {
  const { pulled } = await pullAll(
    { endpoint: hub.url, token: TOKEN, cache: folder(`cache-${id.replace("/", "-")}`) },
    {},
    named(id),
  );
  const contents = await filesIn(pulled.folder);
  for (const [name, bytes] of Object.entries(FILES)) {
    expect([name, Buffer.compare(contents.get(name) as Buffer, bytes)]).toEqual([name, 0]);
  }
}

async function commitsOf(id: string): Promise<number> {
  const commits = await Array.fromAsync(listCommits({ repo: { type: "model", name: id }, hubUrl: hub.url }));
  return commits.length;
}

const STORM: Fault[] = ["reset", "lose", "truncate", "truncate-upload", "busy", "stall"];

test.each([[1], [2], [3], [4]])(
  "a push through storm %i arrives whole, in one commit",
  async (seed) => {
    const id = `me/storm-${seed}`;
    const access = { endpoint: hub.url, token: TOKEN, cache: folder("unused") };
    await Array.fromAsync(push(folder("model"), named(id), access, { create: true, include: ["config.json"] }));
    const before = await commitsOf(id);
    const proxy = await faultyProxy({ target: hub.url, seed, rate: 0.35, faults: STORM, stallMs: 100 });
    try {
      const events: PushEvent[] = [];
      const stormy = { ...access, endpoint: proxy.url };
      for await (const event of push(folder("model"), named(id), stormy, { patience: PATIENT })) events.push(event);
      expect(events.at(-1)?.kind).toBe("pushed");
      const faults = STORM.reduce((sum, fault) => sum + proxy.counts[fault], 0);
      expect(faults).toBeGreaterThan(0);
      expect(events.filter(({ kind }) => kind === "retrying").length).toBeGreaterThan(0);
    } finally {
      await proxy.close();
    }
    await expectArrived(id);
    expect(await commitsOf(id)).toBe(before + 1);
  },
  30_000,
);

test("large files that are spoilt on their way are sent again", async () => {
  const access = { endpoint: hub.url, token: TOKEN, cache: folder("unused") };
  mkdirSync(folder("spoilt"));
  const bytes = bytesOf(600_000, 1234);
  writeFileSync(folder("spoilt", "model.safetensors"), bytes);
  const onUpload = (method: string) => method === "PUT";
  const proxy = await faultyProxy({ target: hub.url, seed: 3, rate: 1, faults: ["corrupt-upload"], only: onUpload });
  try {
    const events: PushEvent[] = [];
    const spoiling = { ...access, endpoint: proxy.url };
    for await (const event of push(folder("spoilt"), named("me/spoilt"), spoiling, { create: true, patience: HASTY })) {
      if (proxy.counts["corrupt-upload"] > 0) proxy.rate = 0;
      events.push(event);
    }
    expect(proxy.counts["corrupt-upload"]).toBeGreaterThan(0);
    const cache = folder("cache-spoilt");
    const { pulled } = await pullAll({ ...access, cache }, {}, named("me/spoilt"));
    expect(Buffer.compare((await filesIn(pulled.folder)).get("model.safetensors") as Buffer, bytes)).toBe(0);
  } finally {
    await proxy.close();
  }
});

test("a pull through a storm arrives whole too", async () => {
  const access = { endpoint: hub.url, token: TOKEN, cache: folder("unused") };
  await Array.fromAsync(push(folder("model"), named("me/down"), access, { create: true }));
  const proxy = await faultyProxy({
    target: hub.url,
    seed: 7,
    rate: 0.4,
    faults: ["reset", "truncate", "busy", "stall"],
    stallMs: 100,
  });
  try {
    const { pulled } = await pullAll(
      { ...access, endpoint: proxy.url, cache: folder("stormy") },
      { patience: PATIENT },
      named("me/down"),
    );
    const contents = await filesIn(pulled.folder);
    for (const [name, bytes] of Object.entries(FILES)) expect(sha256(contents.get(name) as Buffer)).toBe(sha256(bytes));
  } finally {
    await proxy.close();
  }
}, 30_000);

test("a part of a large file that fails is sent again alone", async () => {
  const parts: string[] = [];
  let failed = 0;
  const fetcher: typeof fetch = Object.assign(
    async (input: string | URL | Request, init?: RequestInit) => {
      if (init?.method === "PUT") {
        parts.push(String(input));
        if (parts.length === 2 && failed++ === 0) {
          await new Response(init.body).arrayBuffer();
          return new Response("busy", { status: 503 });
        }
      }
      return fetch(input, init);
    },
    { preconnect: fetch.preconnect },
  );
  const access = { endpoint: hub.url, token: TOKEN, cache: folder("unused"), fetch: fetcher };
  const big = { "big.safetensors": bytesOf(1_000_000, 91), "other.safetensors": bytesOf(50_000, 92) };
  mkdirSync(folder("big"));
  for (const [name, bytes] of Object.entries(big)) writeFileSync(folder("big", name), bytes);
  const events = await Array.fromAsync(
    push(folder("big"), named("me/parts"), access, { create: true, patience: HASTY }),
  );
  expect(new Set(parts).size).toBe(parts.length - 1);
  const sums = new Map<string, number>();
  for (const event of events)
    if (event.kind === "uploading") sums.set(event.file, (sums.get(event.file) ?? 0) + event.bytes);
  expect(Object.fromEntries(sums)).toEqual({ "big.safetensors": 1_000_000, "other.safetensors": 50_000 });
});

test("a push that is stopped commits nothing, and the next sends no large file that had arrived", async () => {
  const access = { endpoint: hub.url, token: TOKEN, cache: folder("unused") };
  await Array.fromAsync(push(folder("model"), named("me/stopped"), access, { create: true, include: ["config.json"] }));
  mkdirSync(folder("fresh"));
  for (let i = 0; i < 3; i++) writeFileSync(folder("fresh", `m-${i}.safetensors`), bytesOf(300_000, 200 + i));
  const before = await commitsOf("me/stopped");
  const stop = new AbortController();
  const stopped = new Error("stopped by the test");
  const pushing = (async () => {
    for await (const event of push(folder("fresh"), named("me/stopped"), access, {
      signal: stop.signal,
      patience: HASTY,
    })) {
      if (event.kind === "committing") stop.abort(stopped);
    }
  })();
  expect(await failureOf(pushing as never)).toBe(stopped);
  const events = await Array.fromAsync(push(folder("fresh"), named("me/stopped"), access, { patience: HASTY }));
  const moved = (await commitsOf("me/stopped")) - before;
  expect(moved).toBe(1);
  expect(events.some(({ kind }) => kind === "uploading")).toBe(false);
});

test("a killed push leaves the repository as it was, and the next finishes it", async () => {
  const access = { endpoint: hub.url, token: TOKEN, cache: folder("unused") };
  await Array.fromAsync(push(folder("model"), named("me/killed"), access, { create: true, include: ["config.json"] }));
  const before = await commitsOf("me/killed");
  const source = `
    import { push } from ${JSON.stringify(path.join(import.meta.dirname, "../../../hub/push/index.ts"))};
    const [folder, endpoint, token] = process.argv.slice(2);
    for await (const event of push(folder, { type: "model", id: "me/killed", revision: "main" }, { endpoint, token, cache: "" })) {
      console.log(event.kind);
    }`;
  writeFileSync(folder("push-child.ts"), source);
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [folder("push-child.ts"), folder("model"), hub.url, TOKEN], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    // At another event each time.
    let seen = 0;
    child.stdout.on("data", () => {
      if (seen++ >= round) child.kill("SIGKILL");
    });
    await once(child, "exit");
    expect(await commitsOf("me/killed")).toBeLessThanOrEqual(before + 1);
  }
  await Array.fromAsync(push(folder("model"), named("me/killed"), access));
  expect(await commitsOf("me/killed")).toBe(before + 1);
  await expectArrived("me/killed");
}, 30_000);
