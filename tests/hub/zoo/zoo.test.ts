// The zoo's download, from a server on this machine: whole, broken off and gone on with, changed meanwhile, cut short, too
// long, damaged, redirected, absent. What counts is what lies in the folder at the end.

import { afterAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { type FetchCheckpointOptions, fetchCheckpoint, type ZooEvent } from "../../../hub/zoo/fetch.ts";
import { isZooName, ZOO, zooEntry } from "../../../hub/zoo/releases.ts";
import { temporaryFolder } from "../temporary.ts";

const at = temporaryFolder();
const BYTES = randomBytes(300_000);
const entry = zooEntry("zoo:gpt2-gaudi");
const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("base64");

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

interface Release {
  url: string;
  /** Range headers in the order in which they came; undefined: the whole file was asked for */
  ranges: (string | undefined)[];
}

const servers: { close(): void }[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

async function release(answer: Answer): Promise<Release> {
  const ranges: Release["ranges"] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ranges };
}

interface Serving {
  bytes?: Uint8Array;
  /** null: the server does not say. Default v1 */
  etag?: string | null;
  /** bytes sent before the connection is cut, at each request in turn; the rest are answered whole */
  cuts?: number[];
  /** the test whose part must have these bytes before a cut: bytes that a client has not read can be lost with it */
  name?: string;
  headers?: Record<string, string>;
}

/** A server that knows ranges and versions. */
function serving({ bytes = BYTES, etag = '"v1"', cuts = [], name, headers = {} }: Serving = {}): Answer {
  return (request, response) => {
    const from = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
    const isPart = from !== undefined && request.headers["if-range"] === etag;
    const start = isPart ? Number(from) : 0;
    const body = bytes.subarray(start);
    response.writeHead(isPart ? 206 : 200, {
      "content-length": body.length,
      ...(etag !== null && { etag }),
      ...(isPart && { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
      ...headers,
    });
    const cut = cuts.shift();
    if (cut === undefined) return response.end(body);
    const hasCome = () => name === undefined || partOf(name) >= start + cut;
    response.write(body.subarray(0, cut), async () => {
      for (let tries = 0; tries === 0 || (tries < 300 && !hasCome()); tries++) await setTimeout(30);
      response.destroy();
    });
  };
}

const HURRIED = { attempts: 4, firstDelayMs: 5, longestDelayMs: 20, stallMs: 2000 };

async function fetchAll(name: string, from: Release, options: Partial<FetchCheckpointOptions> = {}) {
  const events: ZooEvent[] = [];
  const settings = { folder: at(name), release: from.url, patience: HURRIED, ...options };
  for await (const event of fetchCheckpoint(entry, settings)) events.push(event);
  return events;
}

/** @returns the message of what it throws, one line */
async function refusal(name: string, from: Release): Promise<string> {
  const error = await fetchAll(name, from).then(
    () => undefined,
    (error: Error) => error,
  );
  expect(error?.name).toBe("ZooError");
  expect(error?.message).not.toContain("\n");
  return error?.message ?? "";
}

const fileIn = (name: string) => at(name, entry.file);

function expectWhole(name: string, bytes: Uint8Array = BYTES): void {
  expect(readFileSync(fileIn(name)).equals(bytes)).toBe(true);
  expect(readdirSync(at(name)).filter((file) => file.includes(".part"))).toEqual([]);
}

/** Bytes in the part that is there. */
const partOf = (name: string): number => {
  const file = `${fileIn(name)}.part`;
  return existsSync(file) ? readFileSync(file).length : 0;
};

describe("the zoo", () => {
  test("has the three released checkpoints, and names them when asked for another", () => {
    expect(ZOO.map(({ file }) => file).sort()).toEqual([
      "gpt2-gaudi.ckpt",
      "imagenet-resnet18-gaudi.ckpt",
      "imagenet-vit-b-gaudi.ckpt",
    ]);
    expect(isZooName("zoo:x") && !isZooName("owner/zoo:x")).toBe(true);
    expect(() => zooEntry("zoo:gpt3")).toThrow(
      "zoo:gpt3: is not in the zoo; available: zoo:gpt2-gaudi, zoo:vit-b-gaudi, zoo:resnet18-gaudi",
    );
  });

  test("fetches a file once, and takes it from the folder afterwards, offline too", async () => {
    const from = await release(serving({ headers: { "x-ms-blob-content-md5": md5(BYTES) } }));
    const events = await fetchAll("once", from);
    expectWhole("once");
    expect(events.at(-1)).toEqual({ kind: "fetched", path: fileIn("once"), size: BYTES.length, from: "release" });
    const came = events.reduce((sum, event) => sum + (event.kind === "progress" ? event.bytes : 0), 0);
    expect(came).toBe(BYTES.length);
    const again = await fetchAll("once", from, { offline: true });
    expect(again).toEqual([{ kind: "fetched", path: fileIn("once"), size: BYTES.length, from: "cache" }]);
    expect(from.ranges).toEqual([undefined]);
  });

  test("goes on from the byte that a broken download reached", async () => {
    const cut = serving({ name: "broken", cuts: [100_000, 50_000], headers: { "x-ms-blob-content-md5": md5(BYTES) } });
    const from = await release(cut);
    const events = await fetchAll("broken", from);
    expectWhole("broken");
    expect(events.filter(({ kind }) => kind === "retrying").length).toBe(2);
    const starts = from.ranges.map((range) => Number(/\d+/.exec(range ?? "0")?.[0]));
    expect(starts).toEqual([0, 100_000, 150_000]);
  });

  test("goes on in another process's place after the last try failed", async () => {
    const from = await release(serving({ name: "later", cuts: [40_000, 30_000, 20_000, 10_000] }));
    expect(await refusal("later", from)).toMatch(
      /gpt2-gaudi\.ckpt: cannot be fetched after 4 attempts \(.*\); downloaded bytes are kept/,
    );
    expect(existsSync(fileIn("later"))).toBe(false);
    expect(partOf("later")).toBe(100_000);
    await fetchAll("later", from);
    expect(from.ranges.at(-1)).toBe("bytes=100000-");
    expectWhole("later");
  });

  test("begins anew when the file has changed, or the server does not say which version it is", async () => {
    const other = randomBytes(200_000);
    for (const [name, next] of [
      ["changed", serving({ bytes: other, etag: '"v2"' })],
      ["unversioned", serving({ bytes: other, etag: null })],
    ] as const) {
      let answer = serving({ name, cuts: [90_000] });
      const from = await release((request, response) => {
        answer(request, response);
        answer = next;
      });
      await fetchAll(name, from);
      expectWhole(name, other);
    }
  });

  test("does not mix versions when a server ignores if-range", async () => {
    const other = randomBytes(BYTES.length);
    let answer = serving({ name: "mixed", cuts: [90_000] });
    const from = await release((request, response) => {
      answer(request, response);
      // The part is of another version, and says so.
      answer = (asked, reply) => {
        asked.headers["if-range"] = '"v2"';
        serving({ bytes: other, etag: '"v2"' })(asked, reply);
      };
    });
    expect(await refusal("mixed", from)).toMatch(/another part than the requested one/);
    expect(existsSync(fileIn("mixed"))).toBe(false);
  });

  test("finishes a part that was whole but not in its place", async () => {
    const from = await release(serving());
    mkdirSync(at("left"), { recursive: true });
    writeFileSync(`${fileIn("left")}.part`, BYTES);
    const record = { url: `${from.url}/${entry.file}`, etag: '"v1"', size: BYTES.length, md5: md5(BYTES) };
    writeFileSync(`${fileIn("left")}.part.json`, JSON.stringify(record));
    await fetchAll("left", from);
    expectWhole("left");
    expect(from.ranges).toEqual([]);
  });

  test("takes no part for the file's whose record is missing", async () => {
    const from = await release(serving());
    mkdirSync(at("unknown"), { recursive: true });
    writeFileSync(`${fileIn("unknown")}.part`, "something else");
    writeFileSync(fileIn("unknown"), "something else");
    await fetchAll("unknown", from);
    expectWhole("unknown");
  });

  test("never keeps what is not the size or checksum that was announced", async () => {
    const wrong = await release(serving({ headers: { "content-md5": md5(randomBytes(8)) } }));
    expect(await refusal("checksum", wrong)).toMatch(/the checksum differs from the one that the server states/);
    const short = await release((_, response) => {
      response.writeHead(200, { "content-length": BYTES.length, etag: '"v1"' });
      response.write(BYTES.subarray(0, 10), () => setTimeout(20).then(() => response.destroy()));
    });
    await refusal("short", short);
    for (const name of ["checksum", "short"]) expect(existsSync(fileIn(name))).toBe(false);
  });

  test("follows redirects, as releases have them", async () => {
    const storage = await release(serving());
    const from = await release((request, response) => {
      response.writeHead(302, { location: `${storage.url}${request.url}` }).end();
    });
    await fetchAll("redirected", from);
    expectWhole("redirected");
  });

  test("says in one line that there is no such file, and asks but once", async () => {
    const from = await release((_, response) => response.writeHead(404).end("<html>not here</html>"));
    expect(await refusal("absent", from)).toBe(
      `${from.url}/gpt2-gaudi.ckpt: is not at the release: the server answers with status 404`,
    );
    expect(from.ranges.length).toBe(1);
    const busy = await release((_, response) => response.writeHead(503).end());
    expect(await refusal("busy", busy)).toMatch(/after 4 attempts \(the server answers with status 503\)/);
    expect(busy.ranges.length).toBe(4);
  });

  test("waits as long as the server asks for, in seconds or as a date", async () => {
    for (const asked of ["60", new Date(Date.now() + 60_000).toUTCString()]) {
      const answers: Answer[] = [(_, response) => response.writeHead(503, { "retry-after": asked }).end()];
      const from = await release((...call) => (answers.shift() ?? serving())(...call));
      const patience = { ...HURRIED, firstDelayMs: 1, longestDelayMs: 300 };
      const events = await fetchAll(`asked ${asked}`, from, { patience });
      expect(events).toContainEqual(expect.objectContaining({ kind: "retrying", delayMs: 300 }));
    }
  });

  test("says in one line where it cannot write, and that it is offline", async () => {
    const from = await release(serving());
    writeFileSync(at("a-file"), "");
    expect(await refusal(path.join("a-file", "below"), from)).toMatch(/cannot be/);
    const offline = fetchAll("offline", from, { offline: true });
    await expect(offline).rejects.toThrow("is not in the cache, and downloads are not allowed offline");
  });

  test("stops when it is told to and keeps what has come", async () => {
    const from = await release((_, response) => {
      response.writeHead(200, { "content-length": BYTES.length, etag: '"v1"' });
      response.write(BYTES.subarray(0, 50_000));
    });
    const stop = new AbortController();
    const settings = { folder: at("stopped"), release: from.url, patience: HURRIED, signal: stop.signal };
    const fetching = (async () => {
      for await (const event of fetchCheckpoint(entry, settings)) {
        if (event.kind === "progress" && event.done === 50_000) stop.abort(new Error("enough"));
      }
    })();
    await expect(fetching).rejects.toThrow("enough");
    expect(partOf("stopped")).toBe(50_000);
  });
});
