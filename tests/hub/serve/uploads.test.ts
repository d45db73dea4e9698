// Large files on their way in: in one piece and in parts, cut short, corrupted, sent twice, resumed after the server's
// end, and by those who were not given the address.

import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { bytesOf, commitBody, newFolder, sendRaw, sha256, TOKEN, testHub } from "./serving.ts";

interface BatchAnswer {
  transfer: string;
  objects: {
    oid: string;
    actions?: { upload: { href: string; header?: Record<string, string> } };
    uploadedParts?: Record<string, string>;
    error?: { code: number; message: string };
  }[];
}

const PART = 1000;
const options = { multipartFrom: 2000, partSize: PART };
const hub = await testHub(options);
await hub.fetch("/api/repos/create", { method: "POST", body: '{"name":"m","organization":"me"}' });

async function batch(content: Uint8Array, { transfers = ["basic", "multipart", "xet"], on = hub } = {}) {
  const body = {
    operation: "upload",
    transfers,
    hash_algo: "sha_256",
    objects: [{ oid: sha256(content), size: content.length }],
  };
  const response = await on.fetch("/me/m.git/info/lfs/objects/batch", { method: "POST", body: JSON.stringify(body) });
  expect(response.status).toBe(200);
  const { transfer, objects } = (await response.json()) as BatchAnswer;
  const [object] = objects;
  if (!object) throw new Error("no object");
  const parts = Object.entries(object.actions?.upload.header ?? {}).filter(([name]) => /^\d+$/.test(name));
  return { transfer, object, href: object.actions?.upload.href ?? "", parts: parts.map(([, address]) => address) };
}

const put = (address: string, body: Uint8Array<ArrayBuffer>) => fetch(address, { method: "PUT", body });
const slice = (content: Uint8Array<ArrayBuffer>, i: number) => content.slice(i * PART, (i + 1) * PART);

async function finish(href: string, content: Uint8Array, etags: (string | null)[]) {
  const parts = etags.map((etag, i) => ({ partNumber: i + 1, etag }));
  return fetch(href, { method: "POST", body: JSON.stringify({ oid: sha256(content), parts }) });
}

async function isKept(content: Uint8Array): Promise<boolean> {
  const file = { key: "lfsFile", value: { path: "f.bin", algo: "sha256", oid: sha256(content), size: content.length } };
  const body = commitBody({}, file);
  const response = await hub.fetch("/api/models/me/m/commit/main", { method: "POST", body });
  if (response.status === 400) expect(await response.text()).toContain('the content of \\"f.bin\\" was not uploaded');
  return response.status === 200;
}

const storedFiles = () =>
  readdirSync(path.join(hub.folder, ".gblr-hub/objects"), { recursive: true, encoding: "utf8" });

test("clients that know Xet are answered with LFS's own transfers, those that know basic alone with that", async () => {
  const content = bytesOf(5500, 1);
  const many = await batch(content);
  expect([many.transfer, many.parts.length, many.object.actions?.upload.header?.chunk_size]).toEqual([
    "multipart",
    6,
    "1000",
  ]);
  const one = await batch(content, { transfers: ["basic"] });
  expect([one.transfer, one.parts.length]).toEqual(["basic", 0]);
  expect((await put(one.href, content)).status).toBe(200);
  expect(await isKept(content)).toBe(true);
  expect((await batch(content)).object.actions).toBeUndefined();
});

test("what is cut short, too long or not what was announced is refused, and nothing of it stays", async () => {
  const content = bytesOf(1500, 2);
  const { href } = await batch(content);
  const wrong = content.slice();
  wrong[700] = (wrong[700] as number) ^ 1;
  for (const [body, line] of [
    [content.slice(0, 1499), "the upload ended after 1499 of 1500 bytes; send it again"],
    [bytesOf(1501, 2), "the upload is longer than the 1500 bytes announced"],
    [wrong, "the upload does not have the SHA-256 that was announced; send it again"],
  ] as const) {
    const response = await put(href, body);
    expect([response.status, await response.json()]).toEqual([400, { error: line }]);
    expect(await isKept(content)).toBe(false);
  }
  // A connection that ends in the middle.
  const { pathname, search, host } = new URL(href);
  const head = `PUT ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1500\r\n\r\n`;
  const socket = await Bun.connect({ hostname: "127.0.0.1", port: Number(host.split(":")[1]), socket: { data() {} } });
  socket.write(Buffer.concat([Buffer.from(head), content.subarray(0, 900)]));
  socket.end();
  await Bun.sleep(50);
  expect(await isKept(content)).toBe(false);
  expect(storedFiles().filter((name) => name.includes("tmp"))).toEqual([]);
  expect((await put(href, content)).status).toBe(200);
  expect(await isKept(content)).toBe(true);
});

test("parts come in any order, and one that is wrong costs a new start, never a wrong file", async () => {
  const content = bytesOf(4321, 3);
  const { href, parts } = await batch(content);
  const etags: string[] = [];
  for (const i of [3, 0, 4, 2, 1]) {
    const response = await put(parts[i] as string, slice(content, i));
    const etag = response.headers.get("etag") as string;
    expect(etag).toBe(`"${new Bun.CryptoHasher("md5").update(slice(content, i)).digest("hex")}"`);
    etags[i] = etag;
  }
  const short = await put(parts[0] as string, slice(content, 0).slice(1));
  expect(await short.json()).toEqual({ error: "part 1 ended after 999 of 1000 bytes; send it again" });
  expect((await finish(href, content, etags.slice(1))).status).toBe(400);
  expect((await finish(href, content, [...etags.slice(0, 4), etags[0] as string])).status).toBe(400);
  expect((await finish(href, content, [...etags.slice(0, 4), '"../../../x"'])).status).toBe(400);

  const bad = slice(content, 1);
  bad[5] = (bad[5] as number) ^ 1;
  const other = (await put(parts[1] as string, bad)).headers.get("etag") as string;
  const refused = await finish(href, content, [etags[0] as string, other, ...etags.slice(2)]);
  expect([refused.status, await refused.json()]).toEqual([
    400,
    { error: "the upload does not have the SHA-256 that was announced; send it again" },
  ]);
  expect(await isKept(content)).toBe(false);
  expect((await batch(content)).object.uploadedParts).toEqual({});

  for (const [i, address] of parts.entries()) expect((await put(address, slice(content, i))).status).toBe(200);
  expect((await finish(href, content, etags)).status).toBe(200);
  expect(await isKept(content)).toBe(true);
  // The answer may have been lost: asking again is no harm.
  expect((await finish(href, content, etags)).status).toBe(200);
  expect(readdirSync(path.join(hub.folder, ".gblr-hub/uploads"))).toEqual([]);
});

test("parts that were sent outlive the server, and so do the addresses", async () => {
  const folder = newFolder();
  const content = bytesOf(3500, 4);
  const first = await testHub({ ...options, folder });
  await first.fetch("/api/repos/create", { method: "POST", body: '{"name":"m","organization":"me"}' });
  const before = await batch(content, { on: first });
  const etags: string[] = [];
  for (const i of [0, 2])
    etags[i] = (await put(before.parts[i] as string, slice(content, i))).headers.get("etag") as string;
  await first.close();
  const second = await testHub({ ...options, folder });
  const after = await batch(content, { on: second });
  expect(after.object.uploadedParts).toEqual({ 1: etags[0]?.slice(1, -1), 3: etags[2]?.slice(1, -1) } as Record<
    string,
    string
  >);
  for (const i of [1, 3]) {
    const old = (before.parts[i] as string).replace(first.url, second.url);
    etags[i] = (await put(old, slice(content, i))).headers.get("etag") as string;
  }
  expect((await finish(after.href, content, etags)).status).toBe(200);
  expect((await batch(content, { on: second })).object.actions).toBeUndefined();
});

test("an upload address cannot be made up or changed", async () => {
  const content = bytesOf(1999, 5);
  const { href } = await batch(content);
  const address = new URL(href);
  const changed = (change: (url: URL) => void) => {
    const url = new URL(address);
    change(url);
    return url.href;
  };
  for (const wrong of [
    changed((url) => url.searchParams.delete("signature")),
    changed((url) => url.searchParams.set("signature", "00")),
    changed((url) => url.searchParams.set("size", "2000")),
    changed((url) => url.searchParams.set("chunk", "1")),
    changed((url) => url.searchParams.append("size", "5")),
    changed((url) => url.searchParams.set("expires", "99999999999999")),
    changed((url) => {
      url.pathname = url.pathname.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    }),
  ]) {
    const response = await put(wrong, content);
    expect(response.status).toBe(403);
    expect(await response.json()).toEqual({
      error: "this upload address is invalid or has expired; ask for a new one",
    });
  }
  const anonymous = await fetch(`${hub.url}/me/m.git/info/lfs/objects/batch`, { method: "POST", body: "{}" });
  expect(anonymous.status).toBe(401);
  expect(existsSync(path.join(hub.folder, ".gblr-hub/objects", sha256(content).slice(0, 2), sha256(content)))).toBe(
    false,
  );
});

test("a file larger than the disk is refused before it is sent", async () => {
  const body = {
    operation: "upload",
    transfers: ["basic"],
    objects: [{ oid: "a".repeat(64), size: Number.MAX_SAFE_INTEGER }],
  };
  const response = await hub.fetch("/me/m.git/info/lfs/objects/batch", { method: "POST", body: JSON.stringify(body) });
  const { objects } = (await response.json()) as BatchAnswer;
  expect(objects[0]?.error).toEqual({ code: 507, message: "no space is left on the Hub's disk for this file" });
});

test("bodies without a length are taken too, and end where they say", async () => {
  const content = bytesOf(1200, 6);
  const { href } = await batch(content);
  const { pathname, search, host } = new URL(href);
  const head = `PUT ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
  const chunk = (bytes: Uint8Array) =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
  const whole = [
    Buffer.from(head),
    chunk(content.subarray(0, 700)),
    chunk(content.subarray(700)),
    Buffer.from("0\r\n\r\n"),
  ];
  expect(await sendRaw(hub.url, Buffer.concat(whole))).toStartWith("HTTP/1.1 200");
  expect(await isKept(content)).toBe(true);
});

test("the token is in no answer and no log", async () => {
  const content = bytesOf(2500, 7);
  const { object } = await batch(content);
  expect(JSON.stringify(object)).not.toContain(TOKEN);
  expect(JSON.stringify(hub.events)).not.toContain(TOKEN);
  expect(JSON.stringify(hub.events)).not.toContain("signature");
});
