// Contents, whole and in parts: ranges, conditions and the headers that clients go by.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { select } from "../../../hub/serve/api/resolve.ts";
import { bytesOf, lay, newFolder, sha256, testHub } from "./serving.ts";

const folder = newFolder();
const weights = bytesOf(100_000, 5);
lay(folder, {
  "models/me/m/model.safetensors": weights,
  "models/me/m/config.json": '{"a": 1}\n',
  "models/me/m/sub/empty.txt": "",
  "datasets/me/d/data.txt": "data",
});
const hub = await testHub({ folder });
const { sha } = await hub.get<{ sha: string }>("/api/models/me/m");
const WEIGHTS = "/me/m/resolve/main/model.safetensors";
const etag = `"${sha256(weights)}"`;

const ask = (headers: Record<string, string>, address = WEIGHTS, method = "GET") =>
  fetch(hub.url + address, { headers, method });
const bytes = async (response: Response) => new Uint8Array(await response.arrayBuffer());

test("HEAD says all that Python's client wants to know, and sends nothing", async () => {
  const large = await ask({ "Accept-Encoding": "identity" }, WEIGHTS, "HEAD");
  expect(large.status).toBe(200);
  expect(Object.fromEntries(large.headers)).toMatchObject({
    "content-length": "100000",
    "x-repo-commit": sha,
    "x-linked-size": "100000",
    "x-linked-etag": etag,
    etag,
    "accept-ranges": "bytes",
  });
  const small = await ask({}, "/me/m/resolve/main/config.json", "HEAD");
  const blob = new Bun.CryptoHasher("sha1").update('blob 9\0{"a": 1}\n').digest("hex");
  expect(Object.fromEntries(small.headers)).toMatchObject({
    "content-length": "9",
    etag: `"${blob}"`,
    "x-repo-commit": sha,
  });
  expect(small.headers.has("x-linked-size")).toBe(false);
  expect((await bytes(large)).length + (await bytes(small)).length).toBe(0);
});

test("a range is 206 with exactly its bytes", async () => {
  for (const [range, start, end] of [
    ["bytes=0-0", 0, 1],
    ["bytes=100-199", 100, 200],
    ["bytes=99999-", 99_999, 100_000],
    ["bytes=50000-999999999999999999999", 50_000, 100_000],
    ["bytes=-7", 99_993, 100_000],
    ["bytes=-200000", 0, 100_000],
  ] as const) {
    const response = await ask({ Range: range });
    expect([range, response.status]).toEqual([range, 206]);
    expect(response.headers.get("content-range")).toBe(`bytes ${start}-${end - 1}/100000`);
    expect(await bytes(response)).toEqual(weights.slice(start, end));
  }
});

test("a range past the end is 416 with the size; one that cannot be read is ignored", async () => {
  for (const range of ["bytes=100000-", "bytes=100000-100001", "bytes=-0"]) {
    const response = await ask({ Range: range });
    expect([response.status, response.headers.get("content-range")]).toEqual([416, "bytes */100000"]);
    expect((await bytes(response)).length).toBe(0);
  }
  for (const range of ["bytes=5-2", "bytes=", "bytes=a-b", "items=0-1", "bytes=0-1,5-9", "bytes=--1"]) {
    const response = await ask({ Range: range });
    expect([range, response.status]).toEqual([range, 200]);
    expect((await bytes(response)).length).toBe(100_000);
  }
});

test("a part is given only of the content that the client has a part of", async () => {
  const range = { Range: "bytes=10-19" };
  expect((await ask({ ...range, "If-Range": etag })).status).toBe(206);
  for (const other of ['"other"', `W/${etag}`, "Sat, 01 Jan 2022 00:00:00 GMT"]) {
    const response = await ask({ ...range, "If-Range": other });
    expect(response.status).toBe(200);
    expect((await bytes(response)).length).toBe(100_000);
  }
  expect((await ask({ ...range, "If-Match": etag })).status).toBe(206);
  expect((await ask({ ...range, "If-Match": '"other"' })).status).toBe(412);
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
    const response = await ask({ "If-None-Match": known });
    expect([response.status, response.headers.get("etag")]).toEqual([304, etag]);
  }
  expect((await ask({ "If-None-Match": '"other"' })).status).toBe(200);
});

test("an empty file is found by a client that asks for its first byte", async () => {
  const response = await ask({ Range: "bytes=0-0" }, "/me/m/resolve/main/sub/empty.txt");
  expect([response.status, response.headers.get("content-range")]).toEqual([200, "bytes */0"]);
});

test("any selection keeps to what RFC 9110 says of ranges", () => {
  const number = fc.nat({ max: 50 });
  fc.assert(
    fc.property(number, fc.option(number), fc.option(number), (size, first, last) => {
      const header = (name: string) => (name === "range" ? `bytes=${first ?? ""}-${last ?? ""}` : undefined);
      const chosen = select({ size, etag: '"x"', header });
      if (first === null && last === null) return chosen.kind === "whole";
      const [start, end] =
        first === null ? [Math.max(0, size - (last ?? 0)), size] : [first, Math.min(last ?? size, size - 1) + 1];
      if (first !== null && last !== null && last < first) return chosen.kind === "whole";
      const wanted = Math.min(first === null || last === null ? size : end, size) - start;
      if (start >= size || wanted <= 0) return chosen.kind === "unsatisfiable";
      return chosen.kind === "part" && chosen.start === start && chosen.length === wanted;
    }),
  );
});

test("revisions are branches, tags and commits, with their slashes encoded or not", async () => {
  for (const revision of ["main", "HEAD", sha, "refs/heads/main", "refs%2Fheads%2Fmain"]) {
    const response = await ask({}, `/me/m/resolve/${revision}/config.json`);
    expect([revision, response.status, response.headers.get("x-repo-commit")]).toEqual([revision, 200, sha]);
    expect((await hub.fetch(`/api/models/me/m/revision/${revision}`)).status).toBe(200);
  }
  const tagged = await hub.fetch("/api/models/me/m/tag/main", {
    method: "POST",
    body: '{"tag": "v1.0", "message": "first"}',
  });
  expect(tagged.status).toBe(200);
  expect((await ask({}, "/me/m/resolve/v1.0/config.json")).headers.get("x-repo-commit")).toBe(sha);
  expect((await hub.get<{ tags: unknown }>("/api/models/me/m/refs")).tags).toEqual([
    { name: "v1.0", ref: "refs/tags/v1.0", targetCommit: sha },
  ]);
  expect((await hub.fetch("/api/models/me/m/tag/v1.0", { method: "DELETE" })).status).toBe(200);
  expect((await ask({}, "/me/m/resolve/v1.0/config.json")).status).toBe(404);
});

test("what is missing is told apart by its code", async () => {
  for (const [address, status, code] of [
    ["/me/m/resolve/main/none.txt", 404, "EntryNotFound"],
    ["/me/m/resolve/main/sub", 404, "EntryNotFound"],
    ["/me/m/resolve/none/config.json", 404, "RevisionNotFound"],
    [`/me/m/resolve/${"0".repeat(40)}/config.json`, 404, "RevisionNotFound"],
    ["/me/none/resolve/main/config.json", 401, "RepoNotFound"],
    ["/datasets/me/m/resolve/main/config.json", 401, "RepoNotFound"],
    ["/api/models/me/none", 401, "RepoNotFound"],
    ["/api/models/me/m/revision/none", 404, "RevisionNotFound"],
    ["/api/models/me/m/tree/main/none", 404, "EntryNotFound"],
    ["/api/models/me/m/xet-read-token/main", 404, null],
    ["/spaces/me/m/resolve/main/app.py", 404, null],
  ] as const) {
    const response = await ask({}, address);
    const { error } = (await response.json()) as { error: string };
    expect([address, response.status, response.headers.get("x-error-code")]).toEqual([address, status, code]);
    expect(response.headers.get("x-error-message")).toBe(error);
    expect(error).not.toContain("\n");
  }
  expect((await hub.fetch("/api/models/me/none")).status).toBe(404);
});

test("a tree comes in pages that are of one commit, whatever happens meanwhile", async () => {
  const names = Array.from({ length: 25 }, (_, i) => `f${String(i).padStart(2, "0")}.txt`);
  lay(`${folder}/models/me/pages`, Object.fromEntries(names.map((name) => [name, name])));
  const seen: string[] = [];
  let next: string | undefined = `${hub.url}/api/models/me/pages/tree/main?recursive=true&limit=10`;
  let pages = 0;
  while (next) {
    const response: Response = await fetch(next);
    seen.push(...((await response.json()) as { path: string }[]).map(({ path }) => path));
    next = /<([^>]+)>; rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
    if (pages++ === 0) lay(`${folder}/models/me/pages`, { "f05a.txt": "late", "f15a.txt": "late" });
  }
  expect(pages).toBe(3);
  expect(seen).toEqual(names);
  for (const cursor of ["x", "e30", "bnVsbA", Buffer.from('{"after":1}').toString("base64url")]) {
    expect((await ask({}, `/api/models/me/pages/tree/main?cursor=${cursor}`)).status).toBe(400);
  }
});
