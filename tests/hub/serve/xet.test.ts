// Uploads by Xet, byte by byte: xorbs and shards made here by the published formats, whole and damaged. Python's own
// client is tested in huggingface-hub.test.ts.

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { XorbStore } from "../../../hub/serve/store/xorbs.ts";
import { GUEST, newFolder, type TestHub, testHub } from "./serving.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const XORB = "00112233445566778899aabbccddeeff".repeat(2);
const CONTENT = Buffer.from("0123456789abcdefXYZ");

/** A chunk with its header. */
function chunk(data: Uint8Array, { scheme = 0, size = data.length }: { scheme?: number; size?: number } = {}): Buffer {
  const header = Buffer.alloc(8);
  header.writeUIntLE(data.length, 1, 3);
  header[4] = scheme;
  header.writeUIntLE(size, 5, 3);
  return Buffer.concat([header, data]);
}

/** An LZ4 frame of blocks that are all literals, or stored as they are. */
function frame(data: Uint8Array, stored = false): Buffer {
  const block = stored ? data : Buffer.concat([Buffer.from([0xf0, data.length - 15]), data]);
  const header = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE((block.length | (stored ? 0x80000000 : 0)) >>> 0);
  return Buffer.concat([header, length, block, Buffer.alloc(4)]);
}

/** Bytes of a hash in a shard. */
const hash = (text: string) =>
  Buffer.concat([0, 16, 32, 48].map((at) => Buffer.from(text.slice(at, at + 16), "hex").reverse()));

interface ShardFile {
  sha256?: string | undefined;
  size: number;
  terms: { xorb?: string; first?: number; end: number; size: number }[];
}

function shard(files: ShardFile[]): Buffer {
  const numbers = (...values: number[]) => {
    const bytes = Buffer.alloc(16);
    for (const [i, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * i);
    return bytes;
  };
  const start = Buffer.alloc(48);
  Buffer.from("4846526570 6f4d657461446174610055 6967456a7b815783a5bdd95ccdd14aa9".replaceAll(" ", ""), "hex").copy(
    start,
  );
  start.writeUInt32LE(2, 32);
  const last = Buffer.concat([Buffer.alloc(32, 0xff), Buffer.alloc(16)]);
  const entries = files.flatMap(({ sha256, terms }) => [
    Buffer.alloc(32, 1),
    numbers(0x80000000 + (sha256 ? 0x40000000 : 0), terms.length),
    ...terms.flatMap(({ xorb = XORB, first = 0, end, size }) => [hash(xorb), numbers(0, size, first, end)]),
    Buffer.alloc(48 * terms.length),
    ...(sha256 ? [hash(sha256), Buffer.alloc(16)] : []),
  ]);
  return Buffer.concat([start, ...entries, last, last]);
}

async function started(): Promise<{ hub: TestHub; at: string }> {
  const hub = await testHub();
  await hub.fetch("/api/repos/create", { method: "POST", body: JSON.stringify({ organization: "me", name: "x" }) });
  const { casUrl, accessToken } = await hub.get<{ casUrl: string; accessToken: string }>(
    "/api/models/me/x/xet-write-token/main",
  );
  expect(accessToken).toBe(hub.token);
  expect(casUrl).toStartWith(`${hub.url}/api/xet/`);
  return { hub, at: casUrl.slice(hub.url.length) };
}

const post = async (hub: TestHub, path: string, body: BodyInit, init: RequestInit = {}) => {
  const response = await hub.fetch(path, { method: "POST", body, ...init });
  return [response.status, (await response.text()).replace(/^.*"error":"(.*)"}$/, "$1")] as [number, string];
};

test("a shard may name the last of many chunks many times", async () => {
  const { hub, at } = await started();
  const many = 50_000;
  // Walking all headers for each of the terms would take minutes.
  const xorb = Buffer.concat([...Array.from({ length: many }, () => chunk(Buffer.alloc(0))), chunk(Buffer.from("x"))]);
  expect((await post(hub, `${at}/v1/xorbs/default/${XORB}`, xorb))[0]).toBe(200);
  const content = Buffer.alloc(many, "x");
  const terms = Array.from({ length: many }, () => ({ first: many, end: many + 1, size: 1 }));
  const sent = shard([{ sha256: sha256(content), size: content.length, terms }]);
  expect(await post(hub, `${at}/v1/shards`, new Uint8Array(sent))).toEqual([200, '{"result":1}']);
});

const grouped = Buffer.from([0, 1, 2, 3].flatMap((first) => [...CONTENT].filter((_, i) => i % 4 === first)));

test("a file is put together from chunks that are stored, compressed, and grouped by bytes", async () => {
  const { hub, at } = await started();
  const size = CONTENT.length;
  const xorb = Buffer.concat([
    chunk(Buffer.from("not asked for")),
    chunk(CONTENT),
    chunk(frame(CONTENT), { scheme: 1, size }),
    chunk(frame(CONTENT, true), { scheme: 1, size }),
    chunk(frame(grouped), { scheme: 2, size }),
    Buffer.from("XETBLOB and what a footer has"),
  ]);
  const whole = Buffer.concat([CONTENT, CONTENT, CONTENT, CONTENT]);
  expect(await post(hub, `${at}/v1/xorbs/default/${XORB}`, new Uint8Array(xorb))).toEqual([
    200,
    '{"was_inserted":true}',
  ]);
  const file = { sha256: sha256(whole), size: whole.length, terms: [{ first: 1, end: 5, size: whole.length }] };
  const turned = Buffer.concat([CONTENT, Buffer.from("not asked for")]);
  const terms = [
    { first: 2, end: 3, size },
    { first: 0, end: 1, size: 13 },
  ];
  const second = { sha256: sha256(turned), size: turned.length, terms };
  expect(await post(hub, `${at}/v1/shards`, new Uint8Array(shard([file, second])))).toEqual([200, '{"result":1}']);
  const lines = [
    { key: "header", value: { summary: "by Xet" } },
    { key: "lfsFile", value: { path: "w.bin", oid: file.sha256, size: file.size } },
    { key: "lfsFile", value: { path: "t.bin", oid: second.sha256, size: second.size } },
  ];
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  expect((await post(hub, "/api/models/me/x/commit/main", body))[0]).toBe(200);
  expect(await (await hub.fetch("/me/x/resolve/main/w.bin")).text()).toBe(whole.toString());
  expect(await (await hub.fetch("/me/x/resolve/main/t.bin")).text()).toBe(turned.toString());
});

test("what is damaged or not there is refused in a line, and nothing is kept", async () => {
  const { hub, at } = await started();
  const size = CONTENT.length;
  const good = { sha256: sha256(CONTENT), size, terms: [{ end: 1, size }] };
  const sent = async (xorb: Uint8Array, file: ShardFile = good) => {
    await post(hub, `${at}/v1/xorbs/default/${XORB}`, new Uint8Array(xorb));
    return post(hub, `${at}/v1/shards`, new Uint8Array(shard([file])));
  };
  const bad = frame(CONTENT);
  const cases: [Uint8Array, ShardFile | undefined, string][] = [
    [Buffer.alloc(0), undefined, "it has no chunk 0"],
    [chunk(CONTENT).subarray(0, 20), undefined, "it ends inside chunk 0"],
    [chunk(CONTENT, { scheme: 9 }), undefined, "compressed by method 9"],
    [chunk(CONTENT), { ...good, terms: [{ end: 3, size }] }, "it has no chunk 1"],
    [chunk(bad.subarray(1), { scheme: 1, size }), undefined, "it has no magic number"],
    [chunk(bad.subarray(0, 20), { scheme: 1, size }), undefined, "it ends inside a block"],
    [chunk(bad, { scheme: 1, size: 70_000 }), undefined, "it holds 65536 bytes of 70000"],
    [chunk(Buffer.from("0123456789abcdefXYz")), undefined, "does not have the SHA-256 that was announced"],
    [chunk(CONTENT), { ...good, sha256: undefined }, "it does not state the SHA-256 of a file"],
    [chunk(CONTENT), { ...good, terms: [{ xorb: "f".repeat(64), end: 1, size }] }, "was not uploaded"],
  ];
  for (const [xorb, file, line] of cases) {
    const [status, text] = await sent(xorb, file);
    expect([line, status, text]).toEqual([line, 400, expect.stringContaining(line)]);
  }
  for (const body of ["", "no shard at all", new Uint8Array(shard([good]).subarray(0, 100))]) {
    expect(await post(hub, `${at}/v1/shards`, body)).toEqual([400, expect.stringContaining("is not a shard of Xet")]);
  }
  expect(await post(hub, `${at}/v1/xorbs/default/..%2f..%2fx`, "x")).toEqual([400, expect.stringContaining("64 hex")]);
  expect(await post(hub, `/api/xet/1700000000000-0123456789ab/v1/shards`, "x")).toEqual([
    404,
    expect.stringContaining("has expired"),
  ]);
  const guest = { headers: { Authorization: `Bearer ${GUEST}` } };
  expect((await post(hub, `${at}/v1/shards`, new Uint8Array(shard([good])), guest))[0]).toBe(403);
  expect((await hub.fetch("/api/models/me/x/xet-write-token/main", guest)).status).toBe(403);
  expect((await hub.fetch(`${at}/v1/chunks/default/${XORB}`)).status).toBe(404);
  expect(hub.events.filter(({ kind }) => kind === "fault")).toEqual([]);
  expect(await sent(chunk(CONTENT))).toEqual([200, '{"result":1}']);
});

test("xorbs lie in a folder for each day, which is removed after seven days", async () => {
  const [folder, start, hour] = [newFolder(), 1_800_000_000_000, 3600 * 1000];
  const store = new XorbStore(folder);
  const first = await store.today(start);
  expect(await store.today(start + 23 * hour)).toBe(first);
  const second = await store.today(start + 25 * hour);
  expect(second).not.toBe(first);
  await store.sweep(start + 7 * 24 * hour);
  expect(readdirSync(folder).sort()).toEqual([first, second]);
  await store.sweep(start + 7 * 24 * hour + 1);
  expect(readdirSync(folder)).toEqual([second]);
  await expect(store.expectDay(first)).rejects.toThrow("this upload has expired");
});
