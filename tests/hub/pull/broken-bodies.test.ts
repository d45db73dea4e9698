// Bodies that break, lie, stand still or never fit: a pull goes on from the byte it has, takes nothing wrong for whole,
// and gives up in time with one line.

import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { bytesOf, type Fault, gitHash, type HostileHub, hostileHub, sha256 } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";
import { failureOf, HASTY, pullAll } from "./pulling.ts";

const folder = temporaryFolder();
const FILE = "model.safetensors";
const BYTES = bytesOf(300_000);
const SMALL = bytesOf(5000, 9);
let hub: HostileHub;
let name = 0;
const start = async (fault: (what: string, count: number) => Fault | undefined) => {
  if (name > 0) await hub.close();
  hub = await hostileHub({ [FILE]: BYTES, "config.json": SMALL });
  hub.fault = fault;
  return { endpoint: hub.url, cache: folder(String(name++)) };
};
afterAll(() => hub.close());

const onFile = (faults: (Fault | undefined)[]) => (what: string, count: number) =>
  what === FILE ? faults[count - 1] : undefined;
const startsAsked = () =>
  hub.asked.filter(({ path }) => path.endsWith(FILE)).map(({ headers }) => headers.range ?? "whole");
const blobOf = (cache: string) => `${cache}/models--x--y/blobs/${sha256(BYTES)}`;

test("a body that ends early is gone on with from the byte it reached, for the same version of the file", async () => {
  const access = await start(onFile([{ cutAt: 100_000 }, { cutAt: 250_000 }]));
  await pullAll(access);
  expect(startsAsked()).toEqual(["whole", "bytes=100000-", "bytes=250000-"]);
  expect(hub.asked.at(-1)?.headers["if-range"]).toBe(`"${sha256(BYTES)}"`);
  expect(Buffer.compare(readFileSync(blobOf(access.cache)), BYTES)).toBe(0);
  expect(hub.sent).toBe(BYTES.length + SMALL.length);
});

test("what an earlier process left is gone on with, byte by byte verified with the rest", async () => {
  const access = await start(() => undefined);
  mkdirSync(`${access.cache}/models--x--y/blobs`, { recursive: true });
  writeFileSync(`${blobOf(access.cache)}.incomplete`, BYTES.subarray(0, 123_457));
  const { events } = await pullAll(access);
  expect(startsAsked()).toEqual(["bytes=123457-"]);
  expect(events.find((event) => event.kind === "resolved")).toMatchObject({ cachedBytes: 123_457 });
  expect(Buffer.compare(readFileSync(blobOf(access.cache)), BYTES)).toBe(0);
});

test.each([
  ["wrong", BYTES.subarray(0, 1000).map((byte) => byte ^ 1)],
  ["longer than the file", new Uint8Array(BYTES.length + 1)],
  ["complete in length and wrong", new Uint8Array(BYTES.length)],
])("a rest of an earlier process that is %s is thrown away", async (_, rest) => {
  const access = await start(() => undefined);
  mkdirSync(`${access.cache}/models--x--y/blobs`, { recursive: true });
  writeFileSync(`${blobOf(access.cache)}.incomplete`, rest);
  const { events } = await pullAll(access);
  expect(Buffer.compare(readFileSync(blobOf(access.cache)), BYTES)).toBe(0);
  expect(existsSync(`${blobOf(access.cache)}.incomplete`)).toBe(false);
  const counted = events.reduce((sum, event) => {
    if (event.kind === "resolved") return sum + event.cachedBytes;
    return event.kind === "progress" ? sum + event.bytes : sum;
  }, 0);
  expect(counted).toBe(BYTES.length + SMALL.length);
});

test.each([["model.safetensors"], ["config.json"]])(
  "a wrong byte in %s is noticed by its hash, and the file fetched anew",
  async (file) => {
    const access = await start((what, count) => (what === file && count <= 2 ? { corruptAt: 4000 } : undefined));
    const { pulled, events } = await pullAll(access);
    expect(Buffer.compare(readFileSync(`${pulled.folder}/${file}`), file === FILE ? BYTES : SMALL)).toBe(0);
    expect(events.filter((event) => event.kind === "retrying" && /hash is/.test(event.reason))).toHaveLength(2);
  },
);

test("a file that is always wrong is given up after three fetches, in one line, and nothing of it stays", async () => {
  const access = await start((what) => (what === FILE ? { corruptAt: 299_999 } : undefined));
  const error = await failureOf(pullAll(access));
  expect(error.code).toBe("corrupt");
  expect(error.message).toMatch(
    /^x\/y: "model\.safetensors" arrived damaged from 127\.0\.0\.1:\d+ 3 times \(its hash is [0-9a-f]{64}, not [0-9a-f]{64}\); try again later, or another network$/,
  );
  expect(startsAsked()).toHaveLength(3);
  expect(existsSync(blobOf(access.cache))).toBe(false);
  expect(statSync(`${blobOf(access.cache)}.incomplete`).size).toBe(0);
});

test("a body longer than announced is refused", async () => {
  const access = await start((what) => (what === FILE ? { extra: 10 } : undefined));
  expect((await failureOf(pullAll(access))).message).toContain("it is longer than announced");
});

test("another hash in the headers is noticed before a byte is taken", async () => {
  const access = await start((what) => (what === FILE ? { headers: { etag: `"${"a".repeat(64)}"` } } : undefined));
  const error = await failureOf(pullAll(access));
  expect(error.message).toContain(`its hash is ${"a".repeat(64)} now, not ${sha256(BYTES)}`);
});

test("a range other than the one asked for is not taken", async () => {
  const wrong = { headers: { "content-range": "bytes 5-299999/300000" } };
  const access = await start(onFile([{ cutAt: 100_000 }, wrong]));
  const { events } = await pullAll(access);
  expect(events.some((event) => event.kind === "retrying" && /byte 100000 was requested/.test(event.reason))).toBe(
    true,
  );
  expect(Buffer.compare(readFileSync(blobOf(access.cache)), BYTES)).toBe(0);
});

test("a server that knows no ranges is read from the start again", async () => {
  const access = await start(onFile([{ cutAt: 100_000 }, { ignoreRange: true }]));
  await pullAll(access);
  expect(startsAsked()).toEqual(["whole", "bytes=100000-"]);
  expect(Buffer.compare(readFileSync(blobOf(access.cache)), BYTES)).toBe(0);
});

test("a connection that falls silent is left, and the file gone on with", async () => {
  const access = await start(onFile([{ stallAt: 65_536 }]));
  const { events } = await pullAll(access);
  expect(events.find((event) => event.kind === "retrying")).toMatchObject({ file: FILE, reason: "no byte for 1 s" });
  expect(startsAsked()).toEqual(["whole", "bytes=65536-"]);
});

test("a slow body is no silence", async () => {
  const access = await start(onFile([{ slow: 40 }]));
  const { events } = await pullAll(access, { patience: { ...HASTY, stallMs: 600 } });
  expect(events.filter((event) => event.kind === "retrying")).toEqual([]);
});

test("servers that are busy are asked again, after the time they say", async () => {
  const busy = { status: 429, headers: { "retry-after": "1" } };
  const access = await start((what, count) =>
    count <= 1 && what !== FILE ? { status: 503 } : onFile([busy])(what, count),
  );
  const { events } = await pullAll(access, { patience: { ...HASTY, longestDelayMs: 40 } });
  const delays = events.flatMap((event) => (event.kind === "retrying" && event.file === FILE ? [event.delayMs] : []));
  expect(delays).toEqual([40]);
  expect(events.filter((event) => event.kind === "retrying" && event.reason === "status 503").length).toBe(3);
});

test("a file that brings no byte is given up in time, and what was there is kept", async () => {
  const access = await start((what, count) =>
    what !== FILE ? undefined : count === 1 ? { cutAt: 50_000 } : { status: 502 },
  );
  const error = await failureOf(pullAll(access));
  expect(error.code).toBe("unreachable");
  expect(error.message).toMatch(/cannot be reached after 4 attempts \("model\.safetensors": status 502\)/);
  expect(statSync(`${blobOf(access.cache)}.incomplete`).size).toBe(50_000);
  expect(startsAsked().length).toBe(4);
});

test("stopping keeps what was fetched, and lets go of the locks", async () => {
  const access = await start(onFile([{ slow: 5 }]));
  const stop = new AbortController();
  const stopped = new Error("stopped by the test");
  const pulling = pullAll(access, { signal: stop.signal });
  const started = () => (statSync(`${blobOf(access.cache)}.incomplete`, { throwIfNoEntry: false })?.size ?? 0) > 0;
  while (!started()) await new Promise((resolve) => setTimeout(resolve, 2));
  stop.abort(stopped);
  expect(await failureOf(pulling)).toBe(stopped);
  const kept = statSync(`${blobOf(access.cache)}.incomplete`).size;
  expect(kept).toBeGreaterThan(0);
  await pullAll(access);
  expect(startsAsked()).toEqual(["whole", `bytes=${kept}-`]);
  expect(readdirSync(`${access.cache}/models--x--y/blobs`).sort()).toEqual([sha256(BYTES), gitHash(SMALL)].sort());
});
